//! Seccomp filters.
//!
//! When all threads of a process have the same filters, only the leader's record names them, and the
//! filters carry the flag to install them in all threads at once (`SECCOMP_FILTER_FLAG_TSYNC`,
//! seccomp(2)). In the model every thread names its own, and that flag does not occur.

use std::collections::BTreeSet;

use stasis_model::{Live, SeccompFilter, SeccompMode, Tree};

use crate::{
    Result,
    error::Place,
    wire::seccomp::{SeccompEntry, SeccompFilter as SeccompFilterEntry},
};

const TSYNC: u32 = 1;
const INSTRUCTION_LEN: usize = 8;

/// Which filters of a tree are installed in all threads of a process at once.
pub(super) struct Synchronised {
    filters: BTreeSet<usize>,
}

impl Synchronised {
    /// A filter can be, if that is right for every process that has it.
    pub fn of(tree: &Tree) -> Self {
        let mut apart = BTreeSet::new();
        let chains: Vec<_> = tree.processes.iter().filter_map(|process| process.live()).collect();
        // A process that has one filter that cannot be synchronised has none that can.
        loop {
            let before = apart.len();
            for live in &chains {
                let chain = filters_of(tree, live);
                if !is_uniform(live) || chain.iter().any(|index| apart.contains(index)) {
                    apart.extend(chain);
                }
            }
            if apart.len() == before {
                break;
            }
        }
        let used = chains.iter().flat_map(|live| filters_of(tree, live));
        Synchronised { filters: used.filter(|index| !apart.contains(index)).collect() }
    }

    pub fn encode(&self, filters: &[SeccompFilter]) -> SeccompEntry {
        let entry = |(index, filter): (usize, &SeccompFilter)| SeccompFilterEntry {
            filter: filter.program.clone(),
            prev: filter.next_newer.and_then(|index| u32::try_from(index).ok()),
            flags: Some(filter.flags | if self.filters.contains(&index) { TSYNC } else { 0 }),
        };
        SeccompEntry { seccomp_filters: filters.iter().enumerate().map(entry).collect() }
    }

    /// The mode that is written for the thread at `index`.
    pub fn mode(&self, live: &Live, index: usize) -> SeccompMode {
        match live.threads[index].seccomp {
            SeccompMode::Filter { oldest } if index > 0 && self.filters.contains(&oldest) => {
                SeccompMode::Disabled
            }
            mode => mode,
        }
    }
}

fn is_uniform(live: &Live) -> bool {
    live.threads.iter().all(|thread| thread.seccomp == live.leader().seccomp)
}

/// All filters of all threads; the chains are known to end.
fn filters_of(tree: &Tree, live: &Live) -> BTreeSet<usize> {
    let mut filters = BTreeSet::new();
    for thread in &live.threads {
        let mut next = match thread.seccomp {
            SeccompMode::Filter { oldest } => Some(oldest),
            SeccompMode::Disabled | SeccompMode::Strict => None,
        };
        while let Some(index) = next.filter(|index| filters.insert(*index)) {
            next = tree.seccomp_filters.get(index).and_then(|filter| filter.next_newer);
        }
    }
    filters
}

/// Decodes the filters and tells which of them are for all threads of a process.
pub(super) fn decode(
    place: Place,
    entry: &SeccompEntry,
) -> Result<(Vec<SeccompFilter>, BTreeSet<usize>)> {
    let mut filters = Vec::new();
    let mut synchronised = BTreeSet::new();
    for (index, filter) in entry.seccomp_filters.iter().enumerate() {
        if !filter.filter.len().is_multiple_of(INSTRUCTION_LEN) {
            let reason = format!("filter {index} is no whole number of instructions");
            return Err(place.field("filter", reason));
        }
        let flags = filter.flags.unwrap_or(0);
        if flags & TSYNC != 0 {
            synchronised.insert(index);
        }
        filters.push(SeccompFilter {
            program: filter.filter.clone(),
            flags: flags & !TSYNC,
            next_newer: filter.prev.map(|index| index as usize),
        });
    }
    Ok((filters, synchronised))
}

/// Gives the leader's filters to the other threads, if they are for all of them.
pub(super) fn spread(live: &mut Live, synchronised: &BTreeSet<usize>) {
    let leader = live.leader().seccomp;
    if !matches!(leader, SeccompMode::Filter { oldest } if synchronised.contains(&oldest)) {
        return;
    }
    for thread in &mut live.threads {
        if thread.seccomp == SeccompMode::Disabled {
            thread.seccomp = leader;
        }
    }
}
