//! Where the contents of pages lie.

use std::{fs::File, path::Path};

use stasis_model::{PAGE_SIZE, PageRun};

use super::{PageOwner, Parents, open, page_flag, page_writer::checked_end, pages_file, parents};
use crate::{
    Error, Result,
    error::Place,
    wire::{
        framing::Records,
        magic::format_of,
        pagemap::{PagemapEntry, PagemapHead},
    },
};

/// Pages whose contents lie back to back in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRun {
    pub run: PageRun,
    /// Which of [`PageReader::files`].
    pub file: usize,
    /// Bytes from the beginning of that file.
    pub offset: u64,
}

/// The stored pages of one owner. All others are as a fresh mapping has them.
#[derive(Debug)]
pub struct PageReader {
    files: Vec<File>,
    runs: Vec<StoredRun>,
}

impl PageReader {
    /// In ascending order, not overlapping, each wholly inside its file.
    pub fn runs(&self) -> &[StoredRun] {
        &self.runs
    }

    /// The files that runs lie in: that of the checkpoint itself, then those of its parents.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The file that a run lies in.
    pub fn file(&self, run: &StoredRun) -> &File {
        &self.files[run.file]
    }

    pub(super) fn open(dir: &Path, owner: PageOwner, parents: &Parents) -> Result<Option<Self>> {
        open_at(dir, owner, (parents, 0))
    }
}

fn open_at(
    dir: &Path,
    owner: PageOwner,
    (parents, depth): (&Parents, usize),
) -> Result<Option<PageReader>> {
    let name = owner.pagemap_file();
    let Some(bytes) = open::read(dir, &name)? else { return Ok(None) };
    let (pages_id, entries) = decode_pagemap(&name, &bytes)?;
    let mut reader = PageReader { files: Vec::new(), runs: Vec::new() };
    // Runs do not overlap, so that no sum of them overflows.
    let nr_present: u64 = entries.iter().filter(|e| !e.in_parent).map(|e| e.run.nr_pages).sum();
    if nr_present > 0 {
        reader.files.push(open_pages(dir, &pages_file(pages_id), nr_present)?);
    }
    let parent = if entries.iter().any(|entry| entry.in_parent) {
        open_parent(dir, owner, (parents, depth))?
    } else {
        PageReader { files: Vec::new(), runs: Vec::new() }
    };
    let first_of_parent = reader.files.len();
    let mut offset = 0;
    for entry in &entries {
        if entry.in_parent {
            let runs = cut(&name, &parent.runs, entry)?;
            let moved = |run: StoredRun| StoredRun { file: run.file + first_of_parent, ..run };
            reader.runs.extend(runs.into_iter().map(moved));
        } else {
            reader.runs.push(StoredRun { run: entry.run, file: 0, offset });
            offset += entry.run.len_bytes();
        }
    }
    reader.files.extend(parent.files);
    Ok(Some(reader))
}

/// One record of a list of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagemapRun {
    pub run: PageRun,
    /// The content is in the checkpoint before.
    pub in_parent: bool,
    /// Number of the record, counted from 1.
    pub record: usize,
}

/// Decodes the list of pages called `name`: the number of the pages file, and the runs in ascending
/// order, none empty.
///
/// # Errors
/// [`Error::Corrupt`]; [`Error::Unsupported`] if pages were left with a server.
pub fn decode_pagemap(name: &str, bytes: &[u8]) -> Result<(u32, Vec<PagemapRun>)> {
    let format = format_of(name).expect("pagemaps have a format");
    let mut records = Records::open(name, format, bytes)?;
    let head: PagemapHead = records.single()?;
    let mut entries: Vec<PagemapRun> = Vec::new();
    let mut end = 0;
    while let Some(entry) = records.one::<PagemapEntry>()? {
        let place = Place::new(name, records.record());
        let entry = decode_entry(place, &entry)?;
        let entry_end = checked_end(entry.run).filter(|_| entry.run.start % PAGE_SIZE == 0);
        if entry_end.is_none() || entry.run.start < end {
            return Err(place.field("vaddr", "is not aligned, out of reach or out of order"));
        }
        end = entry_end.unwrap_or(end);
        if entry.run.nr_pages > 0 {
            entries.push(entry);
        }
    }
    Ok((head.pages_id, entries))
}

/// Old records have no flags or no number of pages in its present place.
fn decode_entry(place: Place, entry: &PagemapEntry) -> Result<PagemapRun> {
    let old_flags =
        if entry.in_parent == Some(true) { page_flag::PARENT } else { page_flag::PRESENT };
    let flags = entry.flags.unwrap_or(old_flags);
    let nr_pages = entry.nr_pages.unwrap_or(entry.compat_nr_pages.into());
    let in_parent = flags & page_flag::PRESENT == 0;
    if in_parent && flags & page_flag::PARENT == 0 {
        let object = format!("{nr_pages} pages at {:#x} in {}", entry.vaddr, place.file);
        let reason = "they were left with a server of lazy pages";
        return Err(Error::unsupported(object, reason));
    }
    Ok(PagemapRun {
        run: PageRun { start: entry.vaddr, nr_pages },
        in_parent,
        record: place.record,
    })
}

fn open_pages(dir: &Path, name: &str, nr_pages: u64) -> Result<File> {
    let needed_for = || format!("{nr_pages} pages are in it");
    let file = open::open(dir, name)?
        .ok_or_else(|| Error::Missing { file: name.into(), needed_for: needed_for() })?;
    let len = open::len(dir, name, &file)?;
    if Some(len) == nr_pages.checked_mul(PAGE_SIZE) {
        Ok(file)
    } else {
        Err(open::corrupt(name, format!("holds {len} bytes instead of {nr_pages} pages")))
    }
}

fn open_parent(
    dir: &Path,
    owner: PageOwner,
    (parents, depth): (&Parents, usize),
) -> Result<PageReader> {
    let dir = parents.of(dir, depth)?;
    let reader = open_at(&dir, owner, (parents, depth + 1))?;
    reader.ok_or_else(|| parents::missing(dir.join(owner.pagemap_file()).display().to_string()))
}

/// The parts of `stored` that make up the entry's run; every page of it must be there.
fn cut(name: &str, stored: &[StoredRun], entry: &PagemapRun) -> Result<Vec<StoredRun>> {
    let (mut next, end) = (entry.run.start, entry.run.end());
    let mut parts = Vec::new();
    let first = stored.partition_point(|stored| stored.run.end() <= next);
    for stored in &stored[first..] {
        if stored.run.start > next {
            break;
        }
        let part_end = stored.run.end().min(end);
        let run = PageRun { start: next, nr_pages: (part_end - next) / PAGE_SIZE };
        let offset = stored.offset + (next - stored.run.start);
        parts.push(StoredRun { run, file: stored.file, offset });
        next = part_end;
        if next == end {
            return Ok(parts);
        }
    }
    let reason = format!("the checkpoint before does not have the page at {next:#x}");
    Err(Place::new(name, entry.record).field("flags", reason))
}
