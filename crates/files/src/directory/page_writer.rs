//! Writing page contents and the list of them.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use stasis_model::{PAGE_SIZE, PageRun};

use super::{PageOwner, open, page_flag, pages_file};
use crate::{
    Error, Result,
    wire::{
        framing::RecordWriter,
        magic::format_of,
        pagemap::{PagemapEntry, PagemapHead},
    },
};

/// Takes the pages of one owner.
///
/// Contents are written into [`PageWriter::file`] at its end, by whom and how is the caller's choice;
/// [`PageWriter::record`] then tells what they were.
#[derive(Debug)]
pub struct PageWriter {
    dir: PathBuf,
    owner: PageOwner,
    pages_id: u32,
    file: File,
    entries: Vec<(PageRun, u32)>,
    nr_pages: u64,
}

impl PageWriter {
    pub(super) fn create(dir: PathBuf, owner: PageOwner, pages_id: u32) -> Result<Self> {
        let file = open::create(&dir, &pages_file(pages_id))?;
        Ok(PageWriter { dir, owner, pages_id, file, entries: Vec::new(), nr_pages: 0 })
    }

    /// The file that contents go into, back to back in the order of their records.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Pages recorded so far.
    pub fn nr_pages(&self) -> u64 {
        self.nr_pages
    }

    /// Tells that the contents of a run come next in the file. `lazy` pages may be supplied late at
    /// a restore; adjacent runs become one.
    ///
    /// # Errors
    /// [`Error::Unwritable`] if the run is not above those before it.
    pub fn record(&mut self, run: PageRun, lazy: bool) -> Result<()> {
        let end = checked_end(run).filter(|_| run.start.is_multiple_of(PAGE_SIZE));
        let above = self.entries.last().is_none_or(|(last, _)| run.start >= last.end());
        if end.is_none() || !above {
            let object = format!("a run of {} pages at {:#x}", run.nr_pages, run.start);
            return Err(Error::unwritable(object, "runs must be aligned and in ascending order"));
        }
        if run.nr_pages == 0 {
            return Ok(());
        }
        let flags = page_flag::PRESENT | if lazy { page_flag::LAZY } else { 0 };
        self.nr_pages += run.nr_pages;
        match self.entries.last_mut() {
            Some((last, last_flags)) if last.end() == run.start && *last_flags == flags => {
                last.nr_pages += run.nr_pages;
            }
            _ => self.entries.push((run, flags)),
        }
        Ok(())
    }

    /// Writes the list of pages.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file does not hold exactly the pages recorded, [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let name = pages_file(self.pages_id);
        let len = open::len(&self.dir, &name, &self.file)?;
        if Some(len) != self.nr_pages.checked_mul(PAGE_SIZE) {
            let reason = format!("holds {len} bytes instead of {} pages", self.nr_pages);
            return Err(open::corrupt(&name, reason));
        }
        if len == 0 {
            let path = self.dir.join(&name);
            fs::remove_file(&path).map_err(Error::io("remove", path))?;
        }
        let name = self.owner.pagemap_file();
        let mut written = RecordWriter::new(format_of(&name).expect("pagemaps have a format"));
        written.record(&PagemapHead { pages_id: self.pages_id });
        for (run, flags) in &self.entries {
            written.record(&encode_run(*run, *flags));
        }
        open::write(&self.dir, &name, &written.into_bytes())
    }
}

fn encode_run(run: PageRun, flags: u32) -> PagemapEntry {
    PagemapEntry {
        vaddr: run.start,
        compat_nr_pages: 0,
        in_parent: None,
        flags: Some(flags),
        nr_pages: Some(run.nr_pages),
    }
}

/// Where a run ends, if that is an address at all.
pub(super) fn checked_end(run: PageRun) -> Option<u64> {
    run.nr_pages.checked_mul(PAGE_SIZE).and_then(|len| run.start.checked_add(len))
}
