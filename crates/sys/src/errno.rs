//! The error of a system call.

use std::fmt;

/// A positive error number of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

pub type Result<T> = std::result::Result<T, Errno>;

impl Errno {
    pub const PERM: Errno = Errno(libc::EPERM);
    pub const NOENT: Errno = Errno(libc::ENOENT);
    pub const SRCH: Errno = Errno(libc::ESRCH);
    pub const INTR: Errno = Errno(libc::EINTR);
    pub const BADF: Errno = Errno(libc::EBADF);
    pub const CHILD: Errno = Errno(libc::ECHILD);
    pub const AGAIN: Errno = Errno(libc::EAGAIN);
    pub const FAULT: Errno = Errno(libc::EFAULT);
    pub const BUSY: Errno = Errno(libc::EBUSY);
    pub const EXIST: Errno = Errno(libc::EEXIST);
    pub const INVAL: Errno = Errno(libc::EINVAL);
    pub const NOMEM: Errno = Errno(libc::ENOMEM);
    pub const NOTTY: Errno = Errno(libc::ENOTTY);
    pub const NODATA: Errno = Errno(libc::ENODATA);
    pub const IO: Errno = Errno(libc::EIO);

    /// The error of the call that just failed in this thread.
    pub fn last() -> Self {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Reads the return value of a raw system call: -4095 to -1 are errors.
    pub fn check(value: i64) -> Result<u64> {
        match value {
            -4095..=-1 => Err(Errno(i32::try_from(-value).expect("at most 4095"))),
            value => Ok(value.cast_unsigned()),
        }
    }

    /// The symbol, such as `EPERM`, for the common ones.
    pub fn symbol(self) -> &'static str {
        const SYMBOLS: &[(i32, &str)] = &[
            (libc::EPERM, "EPERM"),
            (libc::ENOENT, "ENOENT"),
            (libc::ESRCH, "ESRCH"),
            (libc::EINTR, "EINTR"),
            (libc::EIO, "EIO"),
            (libc::ENXIO, "ENXIO"),
            (libc::E2BIG, "E2BIG"),
            (libc::ENOEXEC, "ENOEXEC"),
            (libc::EBADF, "EBADF"),
            (libc::ECHILD, "ECHILD"),
            (libc::EAGAIN, "EAGAIN"),
            (libc::ENOMEM, "ENOMEM"),
            (libc::EACCES, "EACCES"),
            (libc::EFAULT, "EFAULT"),
            (libc::EBUSY, "EBUSY"),
            (libc::EEXIST, "EEXIST"),
            (libc::EXDEV, "EXDEV"),
            (libc::ENODEV, "ENODEV"),
            (libc::ENOTDIR, "ENOTDIR"),
            (libc::EISDIR, "EISDIR"),
            (libc::EINVAL, "EINVAL"),
            (libc::EMFILE, "EMFILE"),
            (libc::ENOTTY, "ENOTTY"),
            (libc::EFBIG, "EFBIG"),
            (libc::ENOSPC, "ENOSPC"),
            (libc::EROFS, "EROFS"),
            (libc::EPIPE, "EPIPE"),
            (libc::ENOSYS, "ENOSYS"),
            (libc::EADDRINUSE, "EADDRINUSE"),
            (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
            (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        ];
        SYMBOLS.iter().find(|(number, _)| *number == self.0).map_or("", |(_, symbol)| symbol)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        match self.symbol() {
            "" => write!(f, "{text} (error {})", self.0),
            symbol => write!(f, "{text} ({symbol})"),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<Errno> for std::io::Error {
    fn from(error: Errno) -> Self {
        std::io::Error::from_raw_os_error(error.0)
    }
}

/// Turns the C library's -1 into an error.
pub(crate) fn cvt(value: libc::c_long) -> Result<libc::c_long> {
    if value == -1 { Err(Errno::last()) } else { Ok(value) }
}
