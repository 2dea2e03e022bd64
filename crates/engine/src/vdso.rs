//! Trees whose vDSO was another kernel's.

use std::collections::BTreeMap;

use rustix::fs::OFlags;
use stasis_files::{PageOwner, Reader};
use stasis_model::{NsPid, State, Tree, Vma};
use stasis_objects::{
    content::{PageSource, read_exact_at, write_all_at},
    vdso::{self, Patch},
};
use stasis_tracee::Blank;

use crate::{contents::StoredPages, facade::Error};

/// What is to be written into which process.
pub type Patches = BTreeMap<NsPid, Vec<Patch>>;

/// Changes the memory of all processes whose vDSO differs from this kernel's.
///
/// # Errors
/// [`Error::Failed`] naming the process for which that cannot be.
pub fn adapt(tree: &mut Tree, reader: &Reader) -> Result<Patches, Error> {
    let mut patches = Patches::new();
    let Some(ours) = vdso::probe()? else { return Ok(patches) };
    // One kernel ran them all, so it is read once.
    let mut stored: Option<Vec<u8>> = None;
    for process in &mut tree.processes {
        let State::Live { live, .. } = &mut process.state else { continue };
        let Some(place) = vdso::place(&live.memory) else { continue };
        if stored.as_ref().is_none_or(|stored| stored.len() as u64 != place.len_bytes()) {
            stored = read(reader, process.pid, place)?;
        }
        let Some(stored) = &stored else { continue };
        let what = format!("process {}", process.pid);
        let changed = vdso::adapt(&what, live, stored, &ours)?;
        if !changed.is_empty() {
            patches.insert(process.pid, changed);
        }
    }
    Ok(patches)
}

/// The code as it was then; `None` if it was not stored.
fn read(reader: &Reader, pid: NsPid, place: &Vma) -> Result<Option<Vec<u8>>, Error> {
    /// No vDSO is longer.
    const MAX_BYTES: u64 = 1 << 20;
    let Some(pages) = reader.pages(PageOwner::Process(pid))? else { return Ok(None) };
    let pages = StoredPages::new(pages);
    let len = place.len_bytes();
    let run = pages.runs().iter().find(|stored| {
        stored.run.start <= place.range.start && place.range.end <= stored.run.end()
    });
    let Some(stored) = run.filter(|_| len <= MAX_BYTES) else { return Ok(None) };
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let offset = stored.offset + (place.range.start - stored.run.start);
    read_exact_at(pages.files()[stored.file], &mut bytes, offset)
        .map_err(|error| Error::Failed(format!("vDSO of process {pid}: {error}")))?;
    Ok(Some(bytes))
}

/// Writes what [`adapt`] found, when the memory is there.
///
/// # Errors
/// [`Error::Failed`]
pub fn patch(blank: &Blank, patches: &[Patch]) -> Result<(), Error> {
    // The code cannot be written by the process itself.
    let memory = blank.proc().open_file("mem", OFlags::RDWR)?;
    for patch in patches {
        write_all_at(std::os::fd::AsFd::as_fd(&memory), &patch.bytes, patch.address).map_err(
            |error| Error::Failed(format!("vDSO of process {}: {error}", blank.own_pid())),
        )?;
    }
    Ok(())
}
