//! Our own heap.

/// Gives pages that hold nothing any more back to the kernel (malloc_trim(3)); tells if there were any.
pub fn trim() -> bool {
    // SAFETY: takes a number; the allocator's own data is under its own locks.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Free room in the heap of the thread that made it. Until it is filled each of its pages would cost a page fault
/// when it is first used; another thread can fill it, while it is being used already.
#[derive(Debug)]
pub struct Room {
    start: *mut libc::c_void,
    len: usize,
}

// SAFETY: nobody looks into the memory, and the kernel is asked about it under its own locks.
unsafe impl Send for Room {}

impl Room {
    /// Of so many bytes. The heap keeps what it has from then on, up to [`trim`].
    pub fn of(len: usize) -> Self {
        /// The most that there can be: what is larger has a mapping of its own.
        const LARGE: i32 = 32 << 20;
        const KEPT: i32 = 256 << 20;
        // SAFETY: takes numbers; the allocator's own data is under its own locks.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
        // SAFETY: as above.
        unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT) };
        // SAFETY: as above.
        let start = unsafe { libc::malloc(len) };
        let len = if start.is_null() { 0 } else { len };
        // SAFETY: it came from malloc and is freed once.
        unsafe { libc::free(start) };
        Room { start, len }
    }

    /// Makes its pages present (madvise(2), `MADV_POPULATE_WRITE`), some at a time, since nobody else can map anything
    /// meanwhile; without success they come one by one.
    pub fn fill(self) {
        const PAGE: usize = 4096;
        const AT_ONCE: usize = 64 * PAGE;
        const MADV_POPULATE_WRITE: i32 = 23;
        let end = (self.start.addr() + self.len) / PAGE * PAGE;
        let starts = (self.start.addr().next_multiple_of(PAGE)..end).step_by(AT_ONCE);
        for from in starts {
            let len = AT_ONCE.min(end - from);
            // SAFETY: no byte is changed, wherever the pages belong to by now.
            unsafe { libc::madvise(self.start.with_addr(from), len, MADV_POPULATE_WRITE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_filled_by_another_thread() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
        };
        let room = Room::of(8 << 20);
        let before = resident();
        std::thread::spawn(|| room.fill()).join().unwrap();
        assert!(resident() > before + 1900, "of 2048 pages");
        Room { start: std::ptr::null_mut(), len: 0 }.fill();
    }
}
