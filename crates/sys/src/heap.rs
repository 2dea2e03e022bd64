//! Our own heap.

/// Gives pages that hold nothing any more back to the kernel (malloc_trim(3)); tells if there were any.
pub fn trim() -> bool {
    // SAFETY: takes a number; the allocator's own data is under its own locks.
    unsafe { libc::malloc_trim(0) == 1 }
}
