//! Our pages in a tracee: one of code, the rest slots for batches.

use std::ops::Range;

use stasis_model::PAGE_SIZE;

/// A piece of the foothold that one thread works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub address: u64,
    pub len: usize,
}

/// Where the foothold of blanks goes: one place that is free in every process of the tree, so that
/// children inherit it from their parents by fork. All of them have the same memory there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FootholdPlan {
    pub base: u64,
    pub len: u64,
    thread_slot: u64,
}

/// Bytes of the slot of a leader.
const MAIN_SLOT: u64 = 4 << 20;

/// Leaders that may be at work at the same time.
pub(crate) const NR_MAIN_SLOTS: usize = 4;
const MAIN_SLOTS: u64 = NR_MAIN_SLOTS as u64 * MAIN_SLOT;

impl Slot {
    /// Its halves, for batches of which one must stay as it is while the next is executed.
    pub fn halves(self) -> [Slot; 2] {
        let len = self.len / 2;
        [0, 1].map(|half| Slot { address: self.address + (half * len) as u64, len })
    }
}

impl FootholdPlan {
    /// Finds room for `nr_threads` threads between the given ranges (in any order).
    ///
    /// `largest_batch`: bytes of the largest batch that a thread other than the leader executes.
    pub fn find(
        taken: impl IntoIterator<Item = Range<u64>>,
        nr_threads: usize,
        largest_batch: usize,
    ) -> Option<Self> {
        let thread_slot = (largest_batch as u64).next_multiple_of(PAGE_SIZE);
        let len = PAGE_SIZE + MAIN_SLOTS + thread_slot * nr_threads as u64;
        find_gap(taken, len).map(|base| FootholdPlan { base, len, thread_slot })
    }

    pub fn range(self) -> Range<u64> {
        self.base..self.base + self.len
    }

    /// One of the slots that leaders have by turns.
    pub fn main_slot(self, index: usize) -> Slot {
        assert!(index < NR_MAIN_SLOTS, "one of few slots");
        let offset = PAGE_SIZE + MAIN_SLOT * index as u64;
        Slot { address: self.base + offset, len: MAIN_SLOT as usize }
    }

    /// The slot of thread number `index` of a process; the leader is 0 and has none of its own.
    pub fn thread_slot(self, index: usize) -> Slot {
        let before = index.checked_sub(1).expect("not the leader") as u64;
        let offset = PAGE_SIZE + MAIN_SLOTS + self.thread_slot * before;
        Slot { address: self.base + offset, len: self.thread_slot as usize }
    }
}

/// First address of a gap of `len` bytes that touches none of the ranges.
pub fn find_gap(taken: impl IntoIterator<Item = Range<u64>>, len: u64) -> Option<u64> {
    const LOWEST: u64 = 0x2_0000;
    const HIGHEST: u64 = 0x7fff_0000_0000;
    // The kernel keeps a gap below a stack that grows down.
    const MARGIN: u64 = 1 << 20;
    let mut ranges: Vec<Range<u64>> = taken.into_iter().collect();
    ranges.sort_by_key(|range| range.start);
    let mut at = LOWEST;
    for range in ranges {
        if range.start >= HIGHEST {
            break;
        }
        if at.checked_add(len + MARGIN)? <= range.start {
            return Some(at);
        }
        at = at.max(range.end.next_multiple_of(PAGE_SIZE));
    }
    (at.checked_add(len)? <= HIGHEST).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::find_gap;

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
    fn gaps_touch_nothing() {
        assert_eq!(find_gap([], 4096), Some(0x2_0000));
        assert_eq!(find_gap([0x1000..0x50_0000], 4096), Some(0x50_0000));
        assert_eq!(find_gap([0x40_0000..0x50_0000], 4096), Some(0x2_0000));
        assert_eq!(
            find_gap([0x7000_0000..0x8000_0000, 0x2_0000..0x6fff_0000], 1 << 20),
            Some(0x8000_0000)
        );
        assert_eq!(find_gap([0x2_0000..0x7fff_0000_0000], 4096), None);
    }
}
