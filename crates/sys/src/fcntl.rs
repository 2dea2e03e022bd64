//! fcntl(2) commands that no crate wraps.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::errno::{Result, cvt};

/// `struct f_owner_ex`: who gets `SIGIO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Owner {
    /// 0 thread, 1 process, 2 process group.
    pub kind: i32,
    pub pid: i32,
}

const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const F_GETOWNER_UIDS: i32 = 17;

/// Kind of a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockType {
    Read = 0,
    Write = 1,
}

/// Locks a range for the open file description itself, without waiting (`F_OFD_SETLK`); `len` 0 means
/// up to the end of the file.
pub fn lock_for_description(
    fd: BorrowedFd<'_>,
    kind: LockType,
    (start, len): (i64, i64),
) -> Result<()> {
    let lock = libc::flock {
        l_type: kind as i16,
        l_whence: 0, // SEEK_SET
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    // SAFETY: the kernel reads one `struct flock`.
    cvt(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }))
        .map(drop)
}

pub fn owner(fd: BorrowedFd<'_>) -> Result<Owner> {
    let mut owner = Owner::default();
    // SAFETY: the kernel writes one `struct f_owner_ex`.
    cvt(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETOWN_EX, &raw mut owner) }))?;
    Ok(owner)
}

pub fn set_owner(fd: BorrowedFd<'_>, owner: Owner) -> Result<()> {
    // SAFETY: the kernel reads one `struct f_owner_ex`.
    cvt(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_SETOWN_EX, &raw const owner) })).map(drop)
}

/// Real and effective user id that the owner was set with.
pub fn owner_uids(fd: BorrowedFd<'_>) -> Result<(u32, u32)> {
    let mut uids = [0u32; 2];
    // SAFETY: the kernel writes two ids.
    cvt(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETOWNER_UIDS, uids.as_mut_ptr()) }))?;
    Ok((uids[0], uids[1]))
}

pub fn signal(fd: BorrowedFd<'_>) -> Result<i32> {
    // SAFETY: F_GETSIG takes no argument.
    let signal = cvt(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETSIG) }))?;
    Ok(i32::try_from(signal).unwrap_or(0))
}

pub fn set_signal(fd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: F_SETSIG takes a number.
    cvt(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_SETSIG, signal) })).map(drop)
}

/// `F_SETFL`: status flags of an open file description.
pub fn set_status_flags(fd: BorrowedFd<'_>, flags: u32) -> Result<()> {
    // SAFETY: F_SETFL takes a number.
    cvt(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) })).map(drop)
}

/// Status flags and access mode of an open file description.
pub fn status_flags(fd: BorrowedFd<'_>) -> Result<u32> {
    // SAFETY: F_GETFL takes no argument.
    let flags = cvt(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }))?;
    Ok(u32::try_from(flags).unwrap_or(0))
}

/// Opens a file by its handle (open_by_handle_at(2)) with `O_PATH`; `mount` is any file of its file system.
pub fn open_by_handle(
    mount: BorrowedFd<'_>,
    (kind, handle): (i32, &[u8]),
) -> Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    const MAX_HANDLE: usize = 128;
    let len = handle.len().min(MAX_HANDLE);
    // `struct file_handle`: length, type, bytes.
    let mut record = [0u32; 2 + MAX_HANDLE / 4];
    record[0] = u32::try_from(len).unwrap_or(0);
    record[1] = kind.cast_unsigned();
    for (word, bytes) in record[2..].iter_mut().zip(handle[..len].chunks(4)) {
        let mut whole = [0; 4];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u32::from_ne_bytes(whole);
    }
    // SAFETY: `record` is a `struct file_handle` with room for the bytes that it announces.
    let made = cvt(unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            record.as_mut_ptr(),
            libc::O_PATH | libc::O_CLOEXEC,
        )
    })?;
    let made = i32::try_from(made).map_err(|_| crate::Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(made) })
}
