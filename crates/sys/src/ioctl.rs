//! ioctls on terminals, watches and the like.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::errno::{Result, cvt};

/// Sets the number that the next inotify watch gets (`INOTIFY_IOC_SETNEXTWD`).
pub fn set_next_watch(inotify: BorrowedFd<'_>, wd: u32) -> Result<()> {
    const INOTIFY_IOC_SETNEXTWD: u64 = 0x4004_4900;
    // SAFETY: takes a number.
    cvt(i64::from(unsafe {
        libc::ioctl(inotify.as_raw_fd(), INOTIFY_IOC_SETNEXTWD, u64::from(wd))
    }))
    .map(drop)
}

/// Sets the expirations of a timerfd that were not read yet (`TFD_IOC_SET_TICKS`).
pub fn set_timerfd_ticks(timerfd: BorrowedFd<'_>, ticks: u64) -> Result<()> {
    const TFD_IOC_SET_TICKS: u64 = 0x4008_5400;
    // SAFETY: the kernel reads one 64-bit number.
    cvt(i64::from(unsafe { libc::ioctl(timerfd.as_raw_fd(), TFD_IOC_SET_TICKS, &raw const ticks) }))
        .map(drop)
}

/// An ioctl that reports one `int`.
pub fn get_int(fd: BorrowedFd<'_>, request: u64) -> Result<i32> {
    // Wider than an int, so that a request with a larger answer would not overrun it.
    let mut answer = [0i32; 16];
    // SAFETY: callers name requests of the form "report one int"; `answer` lives across the call.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), request, answer.as_mut_ptr()) }))?;
    Ok(answer[0])
}

/// Bytes that can be read now (`FIONREAD`).
pub fn readable_bytes(fd: BorrowedFd<'_>) -> Result<usize> {
    get_int(fd, libc::FIONREAD).map(|count| usize::try_from(count).unwrap_or(0))
}

/// Number of the pseudoterminal behind a master (`TIOCGPTN`).
pub fn pty_index(fd: BorrowedFd<'_>) -> Result<u32> {
    get_int(fd, libc::TIOCGPTN).map(i32::cast_unsigned)
}

/// Unlocks or locks the slave of a pseudoterminal (`TIOCSPTLCK`).
pub fn set_pty_lock(fd: BorrowedFd<'_>, locked: bool) -> Result<()> {
    let value = i32::from(locked);
    // SAFETY: the kernel reads one int.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSPTLCK, &raw const value) }))
        .map(drop)
}

/// `struct termios` of the kernel: four flag words, line discipline, 19 control characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct KernelTermios {
    pub input: u32,
    pub output: u32,
    pub control: u32,
    pub local: u32,
    pub line: u8,
    pub characters: [u8; 19],
    pub input_speed: u32,
    pub output_speed: u32,
}

const TCGETS2: u64 = 0x802c_542a;
const TCSETS2: u64 = 0x402c_542b;

/// Modes of a terminal with its speeds (`TCGETS2`).
pub fn terminal_modes(fd: BorrowedFd<'_>) -> Result<KernelTermios> {
    let mut modes = KernelTermios::default();
    // SAFETY: the kernel writes one `struct termios2` (44 bytes), which is this layout.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), TCGETS2, &raw mut modes) }))?;
    Ok(modes)
}

/// Sets the modes of a terminal at once (`TCSETS2`).
pub fn set_terminal_modes(fd: BorrowedFd<'_>, modes: &KernelTermios) -> Result<()> {
    // SAFETY: the kernel reads one `struct termios2` (44 bytes), which is this layout.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), TCSETS2, &raw const *modes) })).map(drop)
}

/// Rows, columns and pixels (`TIOCGWINSZ`).
pub fn window_size(fd: BorrowedFd<'_>) -> Result<[u16; 4]> {
    let mut size = [0u16; 4];
    // SAFETY: the kernel writes one `struct winsize` of four 16-bit numbers.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) }))?;
    Ok(size)
}

pub fn set_window_size(fd: BorrowedFd<'_>, size: [u16; 4]) -> Result<()> {
    // SAFETY: the kernel reads one `struct winsize` of four 16-bit numbers.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, size.as_ptr()) }))
        .map(drop)
}

/// Modes that nobody may change (`TIOCGLCKTRMIOS`); a bit that is set is locked.
pub fn locked_modes(fd: BorrowedFd<'_>) -> Result<KernelTermios> {
    let mut modes = KernelTermios::default();
    // SAFETY: the kernel writes one `struct termios` (36 bytes), the first fields of this layout.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGLCKTRMIOS, &raw mut modes) }))?;
    Ok(modes)
}

/// Locks modes (`TIOCSLCKTRMIOS`).
pub fn set_locked_modes(fd: BorrowedFd<'_>, modes: &KernelTermios) -> Result<()> {
    // SAFETY: the kernel reads one `struct termios` (36 bytes), the first fields of this layout.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSLCKTRMIOS, &raw const *modes) }))
        .map(drop)
}

/// Adds a byte to a terminal's input as if it had been typed (`TIOCSTI`).
pub fn type_byte(fd: BorrowedFd<'_>, byte: u8) -> Result<()> {
    // SAFETY: the kernel reads one byte.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSTI, &raw const byte) })).map(drop)
}

/// Whether a master tells of the slave's state in front of what is read from it (`TIOCPKT`).
pub fn set_packet_mode(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    let value = i32::from(on);
    // SAFETY: the kernel reads one int.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCPKT, &raw const value) }))
        .map(drop)
}

/// Lets nobody but root open the terminal again (`TIOCEXCL`).
pub fn set_exclusive(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes nothing.
    cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCEXCL, 0usize) })).map(drop)
}

/// Opens the slave of a master (`TIOCGPTPEER`); `flags` as for open(2).
pub fn open_pty_peer(master: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd> {
    // SAFETY: takes a number.
    let made = cvt(i64::from(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, i64::from(flags))
    }))?;
    let made = i32::try_from(made).map_err(|_| crate::Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// Device number of the terminal behind any of its names (`TIOCGDEV`): major, minor.
pub fn terminal_device(fd: BorrowedFd<'_>) -> Result<(u32, u32)> {
    let device = get_int(fd, libc::TIOCGDEV)?.cast_unsigned();
    Ok((device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00))
}

/// An ioctl that takes nothing and returns a new descriptor, such as `SIOCUNIXFILE`.
pub fn open_by(fd: BorrowedFd<'_>, request: u64) -> Result<OwnedFd> {
    // SAFETY: takes a number that such requests ignore.
    let made = cvt(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), request, 0usize) }))?;
    let made = i32::try_from(made).map_err(|_| crate::Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}
