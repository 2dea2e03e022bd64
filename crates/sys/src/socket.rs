//! Socket options as numbers or bytes.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::errno::{Result, cvt};

/// socket(2), close-on-exec.
pub fn create(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: takes numbers.
    let made = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    cvt(i64::from(made))?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// getsockopt(2) of an option that is one `int`.
pub fn get_int(fd: BorrowedFd<'_>, level: i32, name: i32) -> Result<i32> {
    let mut bytes = [0u8; 4];
    let len = get_bytes(fd, level, name, &mut bytes)?;
    let mut value = [0u8; 4];
    value[..len.min(4)].copy_from_slice(&bytes[..len.min(4)]);
    Ok(i32::from_ne_bytes(value))
}

pub fn set_int(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> Result<()> {
    set_bytes(fd, level, name, &value.to_ne_bytes())
}

/// getsockopt(2); returns the length that the kernel told, in bytes (for filters: instructions).
pub fn get_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, buffer: &mut [u8]) -> Result<usize> {
    let mut len = libc::socklen_t::try_from(buffer.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: `len` is at most the length of `buffer`, which lives across the call.
    cvt(i64::from(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, buffer.as_mut_ptr().cast(), &raw mut len)
    }))?;
    Ok(len as usize)
}

pub fn set_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
    let len = libc::socklen_t::try_from(value.len()).unwrap_or(0);
    // SAFETY: the kernel reads `len` bytes of `value`.
    cvt(i64::from(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), len)
    }))
    .map(drop)
}

/// Attaches a classic packet filter; each word is one instruction.
pub fn attach_filter(fd: BorrowedFd<'_>, program: &[u64]) -> Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| crate::Errno::INVAL)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: `filter` describes `program` (8 bytes an instruction), which the kernel copies.
    cvt(i64::from(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            len,
        )
    }))
    .map(drop)
}
