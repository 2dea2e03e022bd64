//! Looking into a checkpoint without bringing it back.

use std::{collections::BTreeMap, os::unix::fs::FileExt, path::Path};

use stasis_files::{PageOwner, PageReader, Parents, Reader};
use stasis_model::{NsPid, PAGE_SIZE, Tree};

use crate::facade::Error;

/// The tree of a checkpoint, checked.
///
/// # Errors
/// [`Error::Failed`] if it cannot be read or decoded.
pub fn read(images_dir: &Path) -> Result<Tree, Error> {
    Ok(Reader::open(images_dir)?.tree()?)
}

/// Decodes everything, lists of pages and of the parts of deleted files included. What pages hold is
/// not looked at: only a sum can tell whether that is right.
///
/// # Errors
/// [`Error::Failed`] for what cannot be decoded.
pub fn verify(images_dir: &Path, parents: &Parents) -> Result<(), Error> {
    let reader = Reader::open(images_dir)?.with_parents(parents.clone());
    let tree = reader.tree()?;
    for process in tree.processes.iter().filter(|process| process.live().is_some()) {
        reader.pages(PageOwner::Process(process.pid))?;
    }
    for (segment, _) in tree.segment_sizes() {
        reader.pages(PageOwner::Segment(segment))?;
    }
    tree.ghosts.keys().try_for_each(|ghost| reader.ghost(*ghost).map(|_| ()))?;
    Ok(())
}

/// Pages of one process in two checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryDifference {
    pub nr_changed: u64,
    /// Only in the first one.
    pub nr_gone: u64,
    /// Only in the second one.
    pub nr_new: u64,
}

/// Compares the private pages of all processes that both have.
///
/// # Errors
/// [`Error::Failed`] if one of them cannot be read.
pub fn compare_memory(
    first: (&Path, &Parents),
    second: (&Path, &Parents),
) -> Result<BTreeMap<NsPid, MemoryDifference>, Error> {
    let open = |(dir, parents): (&Path, &Parents)| {
        Ok::<_, Error>(Reader::open(dir)?.with_parents(parents.clone()))
    };
    let (first, second) = (open(first)?, open(second)?);
    let (before, after) = (first.tree()?, second.tree()?);
    let mut differences = BTreeMap::new();
    for process in before.processes.iter().filter(|process| process.live().is_some()) {
        if after.process(process.pid).is_none_or(|now| now.live().is_none()) {
            continue;
        }
        let owner = PageOwner::Process(process.pid);
        let difference = compare_pages(&first, &second, owner)?;
        differences.insert(process.pid, difference);
    }
    Ok(differences)
}

fn compare_pages(
    first: &Reader,
    second: &Reader,
    owner: PageOwner,
) -> Result<MemoryDifference, Error> {
    let (first, second) = (first.pages(owner)?, second.pages(owner)?);
    let mut difference = MemoryDifference::default();
    let (mut ours, mut theirs) = (pages(first.as_ref()), pages(second.as_ref()));
    let (mut one, mut other) = (ours.next(), theirs.next());
    let mut buffers = (vec![0; PAGE_SIZE as usize], vec![0; PAGE_SIZE as usize]);
    loop {
        match (&one, &other) {
            (None, None) => return Ok(difference),
            (Some(a), Some(b)) if a.address == b.address => {
                a.read(&mut buffers.0)?;
                b.read(&mut buffers.1)?;
                difference.nr_changed += u64::from(buffers.0 != buffers.1);
                (one, other) = (ours.next(), theirs.next());
            }
            (Some(a), b) if b.as_ref().is_none_or(|b| a.address < b.address) => {
                difference.nr_gone += 1;
                one = ours.next();
            }
            (_, Some(_)) => {
                difference.nr_new += 1;
                other = theirs.next();
            }
            (Some(_), None) => unreachable!("the arm before takes what has nothing beside it"),
        }
    }
}

/// A stored page.
struct Page<'a> {
    address: u64,
    file: &'a std::fs::File,
    offset: u64,
}

impl Page<'_> {
    fn read(&self, buffer: &mut [u8]) -> Result<(), Error> {
        self.file
            .read_exact_at(buffer, self.offset)
            .map_err(|error| Error::Failed(format!("cannot read a page: {error}")))
    }
}

fn pages(reader: Option<&PageReader>) -> impl Iterator<Item = Page<'_>> {
    reader.into_iter().flat_map(|reader| {
        reader.runs().iter().flat_map(move |run| {
            (0..run.run.nr_pages).map(move |index| Page {
                address: run.run.start + index * PAGE_SIZE,
                file: reader.file(run),
                offset: run.offset + index * PAGE_SIZE,
            })
        })
    })
}
