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
    /// Pages that the checkpoint before has.
    known: Vec<PageRun>,
}

impl PageWriter {
    pub(super) fn create(
        dir: PathBuf,
        owner: PageOwner,
        pages_id: u32,
        known: Vec<PageRun>,
    ) -> Result<Self> {
        let file = open::create(&dir, &pages_file(pages_id))?;
        Ok(PageWriter { dir, owner, pages_id, file, entries: Vec::new(), nr_pages: 0, known })
    }

    /// Pages whose contents the checkpoint before has: in ascending order, not overlapping.
    pub fn known(&self) -> &[PageRun] {
        &self.known
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
        self.enter(run, page_flag::PRESENT | if lazy { page_flag::LAZY } else { 0 })?;
        self.nr_pages += run.nr_pages;
        Ok(())
    }

    /// Tells that the contents of a run are those in the checkpoint before, which must be among
    /// [`PageWriter::known`].
    ///
    /// # Errors
    /// [`Error::Unwritable`] if the run is not above those before it, or not known.
    pub fn record_known(&mut self, run: PageRun) -> Result<()> {
        let at = self.known.partition_point(|known| known.end() <= run.start);
        let covers = |known: &PageRun| known.start <= run.start && run.end() <= known.end();
        if !self.known.get(at).is_some_and(covers) {
            let object = format!("a run of {} pages at {:#x}", run.nr_pages, run.start);
            return Err(Error::unwritable(object, "the checkpoint before does not have it"));
        }
        self.enter(run, page_flag::PARENT)
    }

    fn enter(&mut self, run: PageRun, flags: u32) -> Result<()> {
        let end = checked_end(run).filter(|_| run.start.is_multiple_of(PAGE_SIZE));
        let above = self.entries.last().is_none_or(|(last, _)| run.start >= last.end());
        if end.is_none() || !above {
            let object = format!("a run of {} pages at {:#x}", run.nr_pages, run.start);
            return Err(Error::unwritable(object, "runs must be aligned and in ascending order"));
        }
        match self.entries.last_mut() {
            _ if run.nr_pages == 0 => {}
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
