//! `/proc/PID/fdinfo/FD`, proc_pid_fdinfo(5).

use crate::{Result, lines, malformed, number};

/// What is told of every open file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Common {
    pub position: u64,
    /// `O_*` flags, `O_CLOEXEC` included if the descriptor has it.
    pub flags: u32,
    pub mount: i32,
    pub inode: u64,
}

/// One `tfd:` line of an epoll file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollWatch {
    pub fd: i32,
    pub events: u32,
    pub data: u64,
    pub position: u64,
    pub inode: u64,
    /// Kernel encoding (major << 20 | minor).
    pub device: u32,
}

/// One `inotify` line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InotifyWatch {
    pub wd: u32,
    pub inode: u64,
    /// Kernel encoding (major << 20 | minor).
    pub device: u32,
    pub mask: u32,
    pub ignored_mask: u32,
    pub handle_type: u32,
    pub handle: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eventfd {
    pub count: u64,
    /// `None` before Linux 6.5.
    pub semaphore: Option<bool>,
}

/// Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timerfd {
    pub clock: i32,
    pub ticks: u64,
    pub settime_flags: u32,
    pub remaining: u64,
    pub interval: u64,
}

/// What `lock:` lines tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// fcntl(2) `F_SETLK`: of a process.
    Posix,
    /// flock(2): of an open file description.
    Flock,
    /// fcntl(2) `F_OFD_SETLK`: a range, of an open file description.
    Description,
    /// fcntl(2) `F_SETLEASE`.
    Lease,
    /// Delegations of file servers and what is yet to come.
    Other,
}

/// One `lock:` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    pub kind: LockKind,
    pub for_writing: bool,
    pub start: i64,
    /// Last byte; `None` for the end of the file.
    pub last: Option<i64>,
}

/// Locks that were taken through the open file by the task (or through the open file description).
pub fn locks(text: &[u8]) -> Result<Vec<Lock>> {
    lines(text).filter_map(|line| line.strip_prefix(b"lock:")).map(lock).collect()
}

/// `1: POSIX  ADVISORY  WRITE 1234 08:01:123 0 EOF`
fn lock(line: &[u8]) -> Result<Lock> {
    let bad = || malformed("lock in fdinfo", line);
    let words: Vec<&[u8]> =
        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let [_, kind, _, mode, _, _, start, last] = words[..] else { return Err(bad()) };
    let offset =
        |word| number("lock in fdinfo", word, 10).and_then(|n| i64::try_from(n).map_err(|_| bad()));
    Ok(Lock {
        kind: match kind {
            b"POSIX" => LockKind::Posix,
            b"FLOCK" => LockKind::Flock,
            b"OFDLCK" => LockKind::Description,
            b"LEASE" => LockKind::Lease,
            _ => LockKind::Other,
        },
        for_writing: match mode {
            b"READ" | b"UNLCK" => false,
            b"WRITE" => true,
            _ => return Err(bad()),
        },
        start: offset(start)?,
        last: if last == b"EOF" { None } else { Some(offset(last)?) },
    })
}

/// The lines that all files have.
pub fn common(text: &[u8]) -> Result<Common> {
    Ok(Common {
        position: decimal(text, b"pos")?,
        flags: u32::try_from(number("fdinfo", value(text, b"flags")?, 8)?)
            .map_err(|_| malformed("fdinfo", text))?,
        mount: value(text, b"mnt_id")
            .ok()
            .and_then(|id| std::str::from_utf8(id).ok()?.parse().ok())
            .unwrap_or(-1),
        inode: decimal(text, b"ino").unwrap_or(0),
    })
}

pub fn eventfd(text: &[u8]) -> Result<Eventfd> {
    let count = number("eventfd fdinfo", value(text, b"eventfd-count")?, 16)?;
    let semaphore = value(text, b"eventfd-semaphore").ok().map(|value| value == b"1");
    Ok(Eventfd { count, semaphore })
}

/// Mask of a signalfd, bit n-1 for signal n.
pub fn signalfd(text: &[u8]) -> Result<u64> {
    number("signalfd fdinfo", value(text, b"sigmask")?, 16)
}

pub fn timerfd(text: &[u8]) -> Result<Timerfd> {
    Ok(Timerfd {
        clock: i32::try_from(decimal(text, b"clockid")?).map_err(|_| malformed("fdinfo", text))?,
        ticks: decimal(text, b"ticks")?,
        settime_flags: u32::try_from(number("fdinfo", value(text, b"settime flags")?, 8)?)
            .map_err(|_| malformed("fdinfo", text))?,
        remaining: pair_of_times(value(text, b"it_value")?)?,
        interval: pair_of_times(value(text, b"it_interval")?)?,
    })
}

/// `Pid` and `NSpid` (innermost) of a pidfd; `None` if the process is gone or not in our namespace.
pub fn pidfd(text: &[u8]) -> Option<(i32, i32)> {
    let last = |key: &[u8]| -> Option<i32> {
        let words = value(text, key).ok()?;
        let word = words.split(u8::is_ascii_whitespace).rfind(|word| !word.is_empty())?;
        std::str::from_utf8(word).ok()?.parse().ok()
    };
    let pid = last(b"Pid")?;
    (pid > 0).then(|| (pid, last(b"NSpid").unwrap_or(pid)))
}

pub fn epoll(text: &[u8]) -> Result<Vec<EpollWatch>> {
    lines(text).filter(|line| line.starts_with(b"tfd:")).map(epoll_watch).collect()
}

pub fn inotify(text: &[u8]) -> Result<Vec<InotifyWatch>> {
    lines(text).filter(|line| line.starts_with(b"inotify ")).map(inotify_watch).collect()
}

fn epoll_watch(line: &[u8]) -> Result<EpollWatch> {
    let bad = || malformed("epoll fdinfo", line);
    let device = number("epoll fdinfo", labelled(line, b"sdev:").ok_or_else(bad)?, 16)?;
    let get =
        |key: &[u8], radix| number("epoll fdinfo", labelled(line, key).ok_or_else(bad)?, radix);
    Ok(EpollWatch {
        fd: i32::try_from(get(b"tfd:", 10)?).map_err(|_| bad())?,
        events: u32::try_from(get(b"events:", 16)?).map_err(|_| bad())?,
        data: get(b"data:", 16)?,
        position: get(b"pos:", 10)?,
        inode: get(b"ino:", 16)?,
        device: u32::try_from(device).map_err(|_| bad())?,
    })
}

fn inotify_watch(line: &[u8]) -> Result<InotifyWatch> {
    let bad = || malformed("inotify fdinfo", line);
    let get =
        |key: &[u8], radix| number("inotify fdinfo", labelled(line, key).ok_or_else(bad)?, radix);
    let narrow = |key: &[u8]| get(key, 16).and_then(|n| u32::try_from(n).map_err(|_| bad()));
    let handle = labelled(line, b"f_handle:").map(hex).unwrap_or(Some(Vec::new()));
    Ok(InotifyWatch {
        wd: u32::try_from(get(b"wd:", 16)?).map_err(|_| bad())?,
        inode: get(b"ino:", 16)?,
        device: narrow(b"sdev:")?,
        mask: narrow(b"mask:")?,
        ignored_mask: narrow(b"ignored_mask:")?,
        handle_type: narrow(b"fhandle-type:").unwrap_or(0),
        handle: handle.ok_or_else(bad)?,
    })
}

/// The word after a label such as `ino:`, blanks between them allowed.
fn labelled<'a>(line: &'a [u8], label: &[u8]) -> Option<&'a [u8]> {
    let starts = |at: usize| at == 0 || line[at - 1] == b' ';
    let at = (0..line.len()).find(|at| starts(*at) && line[*at..].starts_with(label))?;
    let rest = line[at + label.len()..].trim_ascii_start();
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    Some(&rest[..end])
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.chunks(2).map(byte).collect()
}

fn value<'a>(text: &'a [u8], key: &[u8]) -> Result<&'a [u8]> {
    lines(text)
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(b":"))
        .map(<[u8]>::trim_ascii)
        .ok_or_else(|| malformed("fdinfo", text))
}

fn decimal(text: &[u8], key: &[u8]) -> Result<u64> {
    number("fdinfo", value(text, key)?, 10)
}

/// `(seconds, nanoseconds)`
fn pair_of_times(text: &[u8]) -> Result<u64> {
    let bad = || malformed("timerfd fdinfo", text);
    let inner = text.strip_prefix(b"(").and_then(|t| t.strip_suffix(b")")).ok_or_else(bad)?;
    let comma = inner.iter().position(|byte| *byte == b',').ok_or_else(bad)?;
    let seconds = number("timerfd fdinfo", &inner[..comma], 10)?;
    let nanoseconds = number("timerfd fdinfo", &inner[comma + 1..], 10)?;
    seconds.checked_mul(1_000_000_000).and_then(|s| s.checked_add(nanoseconds)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eventfd_with_and_without_semaphore() {
        let text = b"pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1057\neventfd-count:               2a\neventfd-id: 3\neventfd-semaphore: 1\n";
        assert_eq!(eventfd(text), Ok(Eventfd { count: 42, semaphore: Some(true) }));
        let common = common(text).unwrap();
        assert_eq!((common.flags, common.mount, common.inode), (0o2000002, 15, 1057));
        assert_eq!(eventfd(b"eventfd-count: 1\n").unwrap().semaphore, None);
    }

    #[test]
    fn epoll_lines() {
        let text = b"pos:\t0\ntfd:        5 events:       1d data: ffffffffffffffff  pos:0 ino:4ab sdev:e\n";
        let watches = epoll(text).unwrap();
        assert_eq!(watches.len(), 1);
        assert_eq!((watches[0].fd, watches[0].events, watches[0].data), (5, 0x1d, u64::MAX));
        assert_eq!((watches[0].inode, watches[0].device), (0x4ab, 0xe));
    }

    #[test]
    fn inotify_lines() {
        let text = b"inotify wd:2 ino:7ef82a sdev:800001 mask:800afff ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:2af87e00220ffd73\n";
        let watch = &inotify(text).unwrap()[0];
        assert_eq!((watch.wd, watch.inode, watch.device), (2, 0x7e_f82a, 0x80_0001));
        assert_eq!(watch.handle, [0x2a, 0xf8, 0x7e, 0, 0x22, 0x0f, 0xfd, 0x73]);
    }

    #[test]
    fn timerfd_lines() {
        let text =
            b"clockid: 1\nticks: 3\nsettime flags: 01\nit_value: (1, 5)\nit_interval: (0, 7)\n";
        let timer = timerfd(text).unwrap();
        assert_eq!((timer.remaining, timer.interval, timer.ticks), (1_000_000_005, 7, 3));
    }

    #[test]
    fn locks_of_all_kinds() {
        let text = b"pos:\t0\nlock:\t1: POSIX  ADVISORY  WRITE 1234 08:01:123 0 EOF\nlock:\t2: OFDLCK ADVISORY  READ -1 08:01:123 2 6\nlock:\t3: LEASE  ACTIVE    READ 12 08:01:123 0 EOF\n";
        let locks = locks(text).unwrap();
        assert_eq!(
            locks[0],
            Lock { kind: LockKind::Posix, for_writing: true, start: 0, last: None }
        );
        assert_eq!(
            (locks[1].kind, locks[1].start, locks[1].last),
            (LockKind::Description, 2, Some(6))
        );
        assert_eq!(locks[2].kind, LockKind::Lease);
        assert!(super::locks(b"lock:\t1: POSIX\n").is_err());
    }

    #[test]
    fn pidfd_of_living_and_dead() {
        assert_eq!(pidfd(b"Pid:\t12\nNSpid:\t12\t3\n"), Some((12, 3)));
        assert_eq!(pidfd(b"Pid:\t-1\nNSpid:\t-1\n"), None);
    }
}
