//! `PAGEMAP_SCAN` on `/proc/PID/pagemap`: which pages exist (the kernel's pagemap document).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::errno::{Result, cvt};

/// Categories of pages.
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

/// All runs of pages between `start` and `end` that pass the filter, in address order.
///
/// # Errors
/// `EINVAL` if the kernel does not know a category, `ENOTTY` before Linux 6.7.
pub fn scan(pagemap: BorrowedFd<'_>, start: u64, end: u64, filter: Filter) -> Result<Vec<Region>> {
    let mut found = Vec::new();
    let mut regions = vec![Region::default(); 1024];
    let mut from = start;
    while from < end {
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            flags: 0,
            start: from,
            end,
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
        if arguments.walk_end <= from {
            break;
        }
        from = arguments.walk_end;
    }
    Ok(found)
}
