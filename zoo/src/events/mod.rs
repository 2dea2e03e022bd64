//! Descriptors that wait for or count events, and terminals.

crate::programs! { "events";
    epoll_set
    epoll_duplicates
    epoll_modes
    epoll_nested
    eventfd
    eventfd_semaphore
    eventfd_shared
    fanotify
    inotify
    inotify_pending
    signalfd
    terminal_controlling
    terminal_foreground
    terminal_hung_up
    terminal_line
    terminal_opened_twice
    terminal_packet
    terminal_pair
    terminal_tty
    timerfd
    timerfd_absolute
}

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::epoll;

use crate::{program::Verdict, stage::Stage};

/// Waits, and checks that epoll sets watch the same (proc_pid_fdinfo(5)).
fn keep_set(stage: &Stage, sets: &[&OwnedFd]) -> Verdict {
    crate::files::keep(stage, || {
        let mut all = Vec::new();
        for set in sets {
            let path = format!("/proc/self/fdinfo/{}", set.as_raw_fd());
            let info = std::fs::read_to_string(path)?;
            let entries = info.lines().filter(|line| line.starts_with("tfd"));
            // Inode numbers of pipes and the like change.
            let entries = entries.map(entry);
            let mut entries: Vec<String> = entries.collect();
            entries.sort();
            all.extend(entries);
        }
        Ok(all)
    })
}

/// Number, events and data of an entry. The kernel adds errors and hang-ups to the events of an
/// entry when it is made, and takes them away from a one-shot entry that was used.
fn entry(line: &str) -> String {
    const ALWAYS: u32 = libc::EPOLLERR as u32 | libc::EPOLLHUP as u32;
    let line = line.split(" pos").next().unwrap_or(line);
    let events = line.split_once("events:").map(|(_, rest)| rest.trim_start());
    let events = events.and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let lasting = u32::from_str_radix(events, 16).map(|events| events & !ALWAYS);
    line.replacen(events, &format!("{:x}", lasting.unwrap_or_default()), 1)
}

/// What an epoll set reports now: data and events, sorted.
fn wait(set: impl AsFd) -> anyhow::Result<Vec<(u64, u32)>> {
    let mut buffer = Vec::with_capacity(16);
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    epoll::wait(set, rustix::buffer::spare_capacity(&mut buffer), Some(&now))?;
    let look = |event: &epoll::Event| (event.data.u64(), { event.flags }.bits());
    let mut events: Vec<_> = buffer.iter().map(look).collect();
    events.sort_unstable();
    Ok(events)
}

/// Reads the count of an eventfd or timerfd; `None` if there is nothing to read.
fn read_count(fd: impl AsFd) -> anyhow::Result<Option<u64>> {
    let mut bytes = [0; 8];
    match rustix::io::read(fd, &mut bytes) {
        Ok(_) => Ok(Some(u64::from_ne_bytes(bytes))),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Watch numbers and masks of the events in an inotify queue.
fn read_inotify(queue: impl AsFd) -> anyhow::Result<Vec<(i32, u32)>> {
    let mut bytes = [0_u8; 4096];
    let len = match rustix::io::read(queue, &mut bytes) {
        Err(rustix::io::Errno::AGAIN) => 0,
        other => other?,
    };
    let mut rest = &bytes[..len];
    let mut events = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let word =
            |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        events.push((word(0).cast_signed(), word(4)));
        rest = tail.get(word(12) as usize..).unwrap_or_default();
    }
    Ok(events)
}

/// Master and slave of a new pseudoterminal.
///
/// Its number is one that others hardly take while the tree is away: the kernel gives the lowest
/// that is free, and tests run side by side.
fn open_terminal() -> anyhow::Result<(OwnedFd, OwnedFd)> {
    use rustix::{
        fs::{Mode, OFlags, open},
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    };
    let from = 8 + std::process::id() % 48;
    let mut held = Vec::new();
    let (master, name) = loop {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        let name = ptsname(&master, Vec::new())?;
        let number = name.to_str()?.rsplit('/').next().and_then(|text| text.parse::<u32>().ok());
        if number.is_some_and(|number| number >= from) {
            break (master, name);
        }
        held.push(master);
    };
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    Ok((master, slave))
}
