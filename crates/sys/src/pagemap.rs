//! `PAGEMAP_SCAN` on `/proc/PID/pagemap`: which pages exist (the kernel's pagemap document).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::errno::{Result, cvt};

/// Categories of pages.
pub const WP_ALLOWED: u64 = 1;
pub const WRITTEN: u64 = 1 << 1;
pub const FILE: u64 = 1 << 2;
pub const PRESENT: u64 = 1 << 3;
pub const SWAPPED: u64 = 1 << 4;
pub const PFN_ZERO: u64 = 1 << 5;
pub const HUGE: u64 = 1 << 6;
pub const GUARD: u64 = 1 << 8;

/// Which pages to report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// All of these, after inversion, must hold.
    pub all: u64,
    /// At least one of these, if any is given.
    pub any: u64,
    /// Categories whose sense is inverted before the comparison.
    pub inverted: u64,
    /// Categories that are told in the answer; runs differ only in these.
    pub told: u64,
}

impl Filter {
    /// The same without asking about a category.
    #[must_use]
    pub fn without(self, category: u64) -> Filter {
        Filter {
            all: self.all & !category,
            any: self.any & !category,
            inverted: self.inverted & !category,
            told: self.told & !category,
        }
    }
}

/// Consecutive pages of equal categories; addresses in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Region {
    pub start: u64,
    pub end: u64,
    pub categories: u64,
}

#[repr(C)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`
const PAGEMAP_SCAN: u64 = 0xc060_6610;

/// What a look does to the pages that it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    None,
    /// `PM_SCAN_WP_MATCHING`
    Protect,
}

/// All runs of pages between `start` and `end` that pass the filter, in address order.
///
/// # Errors
/// `EINVAL` if the kernel does not know a category, `ENOTTY` before Linux 6.7.
pub fn scan(pagemap: BorrowedFd<'_>, start: u64, end: u64, filter: Filter) -> Result<Vec<Region>> {
    walk(pagemap, start..end, filter, Effect::None)
}

/// As [`scan`], and write-protects what it reports; memory that no userfaultfd(2) notes writes for is
/// passed over.
///
/// # Errors
/// As [`scan`].
///
/// # Effect on the tracee
/// The first write to each of these pages takes a page fault, which the kernel resolves by itself.
pub fn protect(
    pagemap: BorrowedFd<'_>,
    start: u64,
    end: u64,
    filter: Filter,
) -> Result<Vec<Region>> {
    walk(pagemap, start..end, filter, Effect::Protect)
}

fn walk(
    pagemap: BorrowedFd<'_>,
    range: std::ops::Range<u64>,
    filter: Filter,
    effect: Effect,
) -> Result<Vec<Region>> {
    const PM_SCAN_WP_MATCHING: u64 = 1;
    let mut found = Vec::new();
    let mut regions = vec![Region::default(); 1024];
    let mut from = range.start;
    while from < range.end {
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            flags: match effect {
                Effect::None => 0,
                Effect::Protect => PM_SCAN_WP_MATCHING,
            },
            start: from,
            end: range.end,
            walk_end: 0,
            vec: regions.as_mut_ptr() as u64,
            vec_len: regions.len() as u64,
            max_pages: 0,
            category_inverted: filter.inverted,
            category_mask: filter.all,
            category_anyof_mask: filter.any,
            return_mask: filter.told,
        };
        // SAFETY: the structure is the kernel's; it writes at most `vec_len` regions to `regions`.
        let count = cvt(i64::from(unsafe {
            libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut arguments)
        }))?;
        let count = usize::try_from(count).unwrap_or(0).min(regions.len());
        found.extend_from_slice(&regions[..count]);
        // The kernel works in portions of 512 runs, and where the walk ended is not told any more when
        // there was more than one (6.7 to 6.18): so we go on behind what we have.
        match regions[..count].last() {
            Some(last) if count == regions.len() => from = last.end,
            _ => break,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    /// Every second of so many pages is there.
    fn check(nr_pages: usize) {
        let len = nr_pages * PAGE;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, 0x22);
        // SAFETY: new memory, which nothing else knows of.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        for page in (0..nr_pages).step_by(2) {
            let place = base.cast::<u8>().wrapping_add(page * PAGE);
            // SAFETY: inside the memory mapped above.
            unsafe { place.write(1) };
        }
        let pagemap = std::fs::File::open("/proc/self/pagemap").unwrap();
        let start = base as u64;
        let present = Filter { any: PRESENT, ..Filter::default() };
        let fd = std::os::fd::AsFd::as_fd(&pagemap);
        let found = scan(fd, start, start + len as u64, present).unwrap();
        // SAFETY: mapped above, and not used any more.
        unsafe { libc::munmap(base, len) };
        let starts: Vec<u64> = found.iter().map(|region| region.start).collect();
        let expect: Vec<u64> =
            (0..nr_pages).step_by(2).map(|page| start + (page * PAGE) as u64).collect();
        assert_eq!(starts, expect);
    }

    #[test]
    fn every_run_is_told_once_however_many_there_are() {
        [10, 1022, 1024, 1026, 1500, 2046, 2048, 2050, 5000].into_iter().for_each(check);
    }
}
