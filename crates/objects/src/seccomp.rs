//! seccomp(2) filters. Threads with the same chain of filters share it in the model.

use stasis_model::{SeccompFilter, SeccompMode, Subject, Tree};
use stasis_sys::ptrace;
use stasis_tracee::Batch;

use crate::{
    error::{Error, Result},
    gathering::Gathering,
};

const SECCOMP: i64 = 317;
const SECCOMP_SET_MODE_STRICT: i32 = 0;
const SECCOMP_SET_MODE_FILTER: i32 = 1;
const TSYNC: u32 = 1;

/// Reads the mode (as `/proc` tells it) and the filters of a stopped thread.
pub fn freeze(
    tid: i32,
    mode: u32,
    subject: &Subject,
    gathering: &mut Gathering,
) -> Result<SeccompMode> {
    match mode {
        0 => return Ok(SeccompMode::Disabled),
        1 => return Ok(SeccompMode::Strict),
        _ => {}
    }
    let mut chain = Vec::new();
    let failed = |errno| Error::at(subject.to_string(), "ptrace(SECCOMP_GET_FILTER)")(errno);
    // ptrace(2) says that the newest has the index 0. It is the oldest: the kernel counts the chain
    // and then walks from the newest as far as the index is from the end (`get_nth_filter`).
    while let Some(program) = ptrace::seccomp_filter(tid, chain.len()).map_err(failed)? {
        chain.push(program);
    }
    if chain.is_empty() {
        return Ok(SeccompMode::Disabled);
    }
    Ok(SeccompMode::Filter { oldest: chain_index(&chain, &mut gathering.tree) })
}

/// Finds the chain in the tree, or adds it.
fn chain_index(chain: &[Vec<u8>], tree: &mut Tree) -> usize {
    let filters = &mut tree.seccomp_filters;
    let starts = (0..filters.len()).filter(|start| chain_at(filters, *start) == chain);
    if let Some(start) = starts.into_iter().next() {
        return start;
    }
    let first = filters.len();
    for (offset, program) in chain.iter().enumerate() {
        let next_newer = (offset + 1 < chain.len()).then_some(first + offset + 1);
        filters.push(SeccompFilter { program: program.clone(), flags: 0, next_newer });
    }
    first
}

fn chain_at(filters: &[SeccompFilter], start: usize) -> Vec<Vec<u8>> {
    let mut chain = Vec::new();
    let mut next = Some(start);
    while let Some(index) = next {
        chain.push(filters[index].program.clone());
        next = filters[index].next_newer;
    }
    chain
}

/// Bytes that installing a chain takes in a batch.
pub fn len_bytes(tree: &Tree, mode: SeccompMode) -> usize {
    match mode {
        SeccompMode::Filter { oldest } => {
            chain_at(&tree.seccomp_filters, oldest).iter().map(|program| program.len() + 128).sum()
        }
        SeccompMode::Disabled | SeccompMode::Strict => 128,
    }
}

/// Installs the filters, oldest first. They rest until the supervisor has left.
///
/// With `all_threads` the other threads of the process get them too.
pub fn thaw(tree: &Tree, mode: SeccompMode, all_threads: bool, batch: &mut Batch) {
    let mut next = match mode {
        SeccompMode::Disabled => return,
        SeccompMode::Strict => {
            batch.call("seccomp", SECCOMP, [SECCOMP_SET_MODE_STRICT.into(), 0.into(), 0.into()]);
            return;
        }
        SeccompMode::Filter { oldest } => Some(oldest),
    };
    while let Some(index) = next {
        let filter = &tree.seccomp_filters[index];
        let program = batch.bytes(&filter.program);
        let description = batch.words(&[filter.program.len() as u64 / 8, 0]);
        batch.pointer(description, 1, program);
        let flags = filter.flags | if all_threads { TSYNC } else { 0 };
        let arguments = [SECCOMP_SET_MODE_FILTER.into(), flags.into(), description.into()];
        batch.call("seccomp", SECCOMP, arguments);
        next = filter.next_newer;
    }
}
