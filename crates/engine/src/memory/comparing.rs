//! What a process has in common with the memory that it is born with. It is found by comparing stored pages,
//! which needs nothing but the checkpoint.

use std::collections::{BTreeMap, btree_map::Entry};

use stasis_files::{PageOwner, Reader};
use stasis_model::{NsPid, Process, Tree};
use stasis_objects::inheritance::{self, Inheritance, Memory};

use crate::{contents::StoredPages, facade::Error};

/// A process, and whose memory it is born with.
pub type Pair = (NsPid, Option<NsPid>);

/// The stored pages of a process, and which of them it need not read.
pub struct Compared {
    pub pid: NsPid,
    pub source: StoredPages,
    pub inheritance: Inheritance,
}

/// Compares one process after the other.
pub struct Comparer<'a> {
    tree: &'a Tree,
    reader: &'a Reader,
    lenders: BTreeMap<NsPid, StoredPages>,
    buffers: inheritance::Buffers,
}

impl<'a> Comparer<'a> {
    pub fn new(tree: &'a Tree, reader: &'a Reader) -> Self {
        let buffers = inheritance::Buffers::default();
        Comparer { tree, reader, lenders: BTreeMap::new(), buffers }
    }

    pub fn compare(&mut self, (pid, lender): Pair) -> Result<Compared, Error> {
        let source = open(self.reader, pid)?;
        let inheritance = self.inheritance(pid, &source, lender)?;
        Ok(Compared { pid, source, inheritance })
    }

    fn inheritance(
        &mut self,
        heir: NsPid,
        source: &StoredPages,
        lender: Option<NsPid>,
    ) -> Result<Inheritance, Error> {
        let memory = |pid| Some(&self.tree.process(pid).and_then(Process::live)?.memory);
        let own = memory(heir).ok_or_else(|| Error::Failed(format!("process {heir} is dead")))?;
        let heir = Memory { vmas: &own.vmas, source };
        let of_lender = lender.and_then(|lender| Some((lender, memory(lender)?)));
        let Some((lender, others)) =
            of_lender.filter(|(_, others)| inheritance::is_likely(own, others))
        else {
            return Ok(Inheritance::none(heir));
        };
        let stored = match self.lenders.entry(lender) {
            Entry::Occupied(opened) => opened.into_mut(),
            Entry::Vacant(place) => place.insert(open(self.reader, lender)?),
        };
        let lender = Memory { vmas: &others.vmas, source: stored };
        Inheritance::between(heir, lender, &mut self.buffers)
            .map_err(|error| Error::Failed(format!("stored pages cannot be compared: {error}")))
    }
}

fn open(reader: &Reader, pid: NsPid) -> Result<StoredPages, Error> {
    let stored = reader.pages(PageOwner::Process(pid))?.ok_or_else(|| {
        Error::Failed(format!("the checkpoint has no list of pages for process {pid}"))
    })?;
    Ok(StoredPages::new(stored))
}
