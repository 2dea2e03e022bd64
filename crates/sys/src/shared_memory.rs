//! Memory that we share with other processes: a file mapped by all of them (mmap(2), `MAP_SHARED`).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::errno::{Errno, Result};

/// A mapping of ours, from and to which bytes are copied; there is never a reference into it.
#[derive(Debug)]
pub struct SharedMemory {
    address: *mut u8,
    len: usize,
}

impl SharedMemory {
    /// Maps the first `len` bytes of a file.
    ///
    /// The file must not become shorter: to touch what is missing is `SIGBUS`.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map(file: BorrowedFd<'_>, len: usize) -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses a place where nothing of ours is.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(SharedMemory { address: address.cast(), len })
    }

    /// Copies bytes to `offset`.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: the range was checked and is mapped as long as we live; `bytes` are ours and no part of it, since nobody
        // has a reference into it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }

    /// Copies bytes from `offset` until `bytes` is full.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: as for `write`; every value of a byte is valid.
        unsafe { std::ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), bytes.len()) };
    }

    fn place(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.len), "beyond the end of the shared memory");
        self.address.wrapping_add(offset)
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: it is our mapping, and nobody can look into it from now on.
        unsafe { libc::munmap(self.address.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsFd, os::unix::fs::FileExt};

    use super::*;

    #[test]
    fn what_one_writes_the_other_reads() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        let memory = SharedMemory::map(file.as_fd(), 8192).unwrap();
        let mut bytes = [0; 3];
        memory.read(8189, &mut bytes);
        assert_eq!(bytes, [7; 3]);
        memory.write(4095, &[1, 2]);
        file.read_exact_at(&mut bytes, 4094).unwrap();
        assert_eq!(bytes, [7, 1, 2]);
    }

    #[test]
    #[should_panic(expected = "beyond the end")]
    fn nothing_is_written_behind_the_end() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        SharedMemory::map(file.as_fd(), 4096).unwrap().write(4095, &[1, 2]);
    }

    #[test]
    fn a_mapping_of_nothing_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(SharedMemory::map(file.as_fd(), 0).unwrap_err(), Errno::INVAL);
    }
}
