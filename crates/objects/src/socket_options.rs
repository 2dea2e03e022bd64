//! Options that all sockets have, socket(7).

use std::os::fd::{AsFd, BorrowedFd};

use stasis_model::{FurtherOption, SocketOptions};
use stasis_sys::{Errno, socket};

use crate::error::{Error, Result};

const SOCKET: i32 = libc::SOL_SOCKET;

/// Reads all options.
pub fn freeze(what: &str, fd: BorrowedFd<'_>) -> Result<SocketOptions> {
    let int = |name| socket::get_int(fd, SOCKET, name).map_err(Error::at(what, "getsockopt"));
    let flag = |name| int(name).map(|value| value != 0);
    let number = |name| int(name).map(i32::cast_unsigned);
    Ok(SocketOptions {
        send_buffer: number(libc::SO_SNDBUF)?,
        receive_buffer: number(libc::SO_RCVBUF)?,
        send_timeout: time(what, fd, libc::SO_SNDTIMEO)?,
        receive_timeout: time(what, fd, libc::SO_RCVTIMEO)?,
        reuse_address: flag(libc::SO_REUSEADDR)?,
        reuse_port: flag(libc::SO_REUSEPORT).unwrap_or(false),
        priority: Some(number(libc::SO_PRIORITY)?),
        receive_low_water: Some(number(libc::SO_RCVLOWAT)?),
        mark: Some(number(libc::SO_MARK)?).filter(|mark| *mark != 0),
        pass_credentials: flag(libc::SO_PASSCRED).unwrap_or(false),
        pass_security: flag(libc::SO_PASSSEC).unwrap_or(false),
        dont_route: flag(libc::SO_DONTROUTE)?,
        no_check: flag(libc::SO_NO_CHECK)?,
        bound_device: device(fd),
        filter: filter(what, fd)?,
        broadcast: flag(libc::SO_BROADCAST)?,
        keep_alive: flag(libc::SO_KEEPALIVE)?,
        out_of_band_inline: Some(number(libc::SO_OOBINLINE)?),
        linger: linger(what, fd)?,
        buffer_lock: number(SO_BUF_LOCK).ok(),
        further: further(fd),
    })
}

const IP: i32 = 0;
const TCP: i32 = 6;
const IPV6: i32 = 41;

/// Options beyond those of the format, by level and name: socket(7), ip(7), ipv6(7), tcp(7).
const FURTHER: &[(i32, i32)] = &[
    (SOCKET, libc::SO_TIMESTAMP),
    (SOCKET, libc::SO_TIMESTAMPNS),
    (SOCKET, libc::SO_RXQ_OVFL),
    (SOCKET, libc::SO_INCOMING_CPU),
    (IP, libc::IP_MTU_DISCOVER),
    (IP, libc::IP_RECVERR),
    (IP, libc::IP_RECVTTL),
    (IP, libc::IP_RECVTOS),
    (IP, libc::IP_TRANSPARENT),
    (IP, libc::IP_BIND_ADDRESS_NO_PORT),
    (IP, libc::IP_MULTICAST_TTL),
    (IP, libc::IP_MULTICAST_LOOP),
    (IPV6, libc::IPV6_UNICAST_HOPS),
    (IPV6, libc::IPV6_MULTICAST_HOPS),
    (IPV6, libc::IPV6_MULTICAST_LOOP),
    (IPV6, libc::IPV6_MTU_DISCOVER),
    (IPV6, libc::IPV6_RECVERR),
    (IPV6, libc::IPV6_RECVHOPLIMIT),
    (IPV6, libc::IPV6_RECVTCLASS),
    (IPV6, libc::IPV6_TCLASS),
    (TCP, libc::TCP_SYNCNT),
    (TCP, libc::TCP_LINGER2),
    (TCP, libc::TCP_DEFER_ACCEPT),
    (TCP, libc::TCP_WINDOW_CLAMP),
    (TCP, libc::TCP_USER_TIMEOUT),
    (TCP, libc::TCP_FASTOPEN),
    (TCP, libc::TCP_NOTSENT_LOWAT),
];

/// A stream has these, since packets came to it with some hop limit, but they cannot be set.
const MULTICAST: &[(i32, i32)] = &[
    (IP, libc::IP_MULTICAST_TTL),
    (IP, libc::IP_MULTICAST_LOOP),
    (IPV6, libc::IPV6_MULTICAST_HOPS),
    (IPV6, libc::IPV6_MULTICAST_LOOP),
];

/// Those that differ from a new socket's.
fn further(fd: BorrowedFd<'_>) -> Vec<FurtherOption> {
    let int = |name| socket::get_int(fd, SOCKET, name).ok();
    let (Some(family), Some(kind), Some(protocol)) =
        (int(libc::SO_DOMAIN), int(libc::SO_TYPE), int(libc::SO_PROTOCOL))
    else {
        return Vec::new();
    };
    if family == libc::AF_UNIX {
        return Vec::new();
    }
    let Ok(fresh) = socket::create(family, kind, protocol) else { return Vec::new() };
    let is_stream = kind == libc::SOCK_STREAM;
    let differing = |&(level, name): &(i32, i32)| {
        if is_stream && MULTICAST.contains(&(level, name)) {
            return None;
        }
        let value = socket::get_int(fd, level, name).ok()?;
        let usual = socket::get_int(fresh.as_fd(), level, name).ok()?;
        (value != usual).then_some(FurtherOption { level, name, value })
    };
    FURTHER.iter().filter_map(differing).collect()
}

const SO_BUF_LOCK: i32 = 72;
const SO_GET_FILTER: i32 = 26;

fn time(what: &str, fd: BorrowedFd<'_>, name: i32) -> Result<(u64, u64)> {
    let mut bytes = [0; 16];
    socket::get_bytes(fd, SOCKET, name, &mut bytes).map_err(Error::at(what, "getsockopt"))?;
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Ok((word(0), word(8)))
}

fn device(fd: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let mut name = [0; 16];
    let len = socket::get_bytes(fd, SOCKET, libc::SO_BINDTODEVICE, &mut name).ok()?;
    let name = name[..len.min(16)].split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| name.to_vec())
}

fn filter(what: &str, fd: BorrowedFd<'_>) -> Result<Vec<u64>> {
    // The kernel tells the number of instructions, not of bytes.
    let count = match socket::get_bytes(fd, SOCKET, SO_GET_FILTER, &mut []) {
        Ok(count) => count,
        Err(Errno::INVAL) => 0,
        Err(errno) => return Err(Error::at(what, "getsockopt(SO_GET_FILTER)")(errno)),
    };
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; count.min(4096) * 8];
    socket::get_bytes(fd, SOCKET, SO_GET_FILTER, &mut bytes)
        .map_err(Error::at(what, "getsockopt(SO_GET_FILTER)"))?;
    Ok(bytes
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
        .collect())
}

fn linger(what: &str, fd: BorrowedFd<'_>) -> Result<Option<u32>> {
    let mut bytes = [0; 8];
    socket::get_bytes(fd, SOCKET, libc::SO_LINGER, &mut bytes)
        .map_err(Error::at(what, "getsockopt(SO_LINGER)"))?;
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    Ok((word(0) != 0).then(|| word(4)))
}

/// Sets what binding depends on.
pub fn thaw_before_bind(what: &str, options: &SocketOptions, fd: BorrowedFd<'_>) -> Result<()> {
    let set = |name, value: i32| {
        socket::set_int(fd, SOCKET, name, value).map_err(Error::at(what, "setsockopt"))
    };
    thaw_buffer_sizes(what, options, fd)?;
    if options.reuse_address {
        set(libc::SO_REUSEADDR, 1)?;
    }
    if options.reuse_port {
        set(libc::SO_REUSEPORT, 1)?;
    }
    if let Some(device) = &options.bound_device {
        socket::set_bytes(fd, SOCKET, libc::SO_BINDTODEVICE, device)
            .map_err(Error::at(what, "setsockopt(SO_BINDTODEVICE)"))?;
    }
    Ok(())
}

fn thaw_buffer_sizes(what: &str, options: &SocketOptions, fd: BorrowedFd<'_>) -> Result<()> {
    // The kernel doubles what it is given.
    let sizes = [
        (libc::SO_SNDBUFFORCE, options.send_buffer / 2),
        (libc::SO_RCVBUFFORCE, options.receive_buffer / 2),
    ];
    for (name, bytes) in sizes {
        socket::set_int(fd, SOCKET, name, bytes.cast_signed())
            .map_err(Error::at(what, "setsockopt"))?;
    }
    Ok(())
}

/// Gives the buffers their sizes again, and whether the kernel may change them.
pub fn thaw_buffers(what: &str, options: &SocketOptions, fd: BorrowedFd<'_>) -> Result<()> {
    thaw_buffer_sizes(what, options, fd)?;
    let Some(lock) = options.buffer_lock else { return Ok(()) };
    socket::set_int(fd, SOCKET, SO_BUF_LOCK, lock.cast_signed())
        .map_err(Error::at(what, "setsockopt(SO_BUF_LOCK)"))
}

/// Sets all others.
pub fn thaw(what: &str, options: &SocketOptions, fd: BorrowedFd<'_>) -> Result<()> {
    let set = |name, value: i32| {
        socket::set_int(fd, SOCKET, name, value).map_err(Error::at(what, "setsockopt"))
    };
    let flags = [
        (libc::SO_REUSEADDR, options.reuse_address, true),
        (libc::SO_PASSCRED, options.pass_credentials, false),
        (libc::SO_PASSSEC, options.pass_security, false),
        (libc::SO_DONTROUTE, options.dont_route, false),
        (libc::SO_NO_CHECK, options.no_check, false),
        (libc::SO_BROADCAST, options.broadcast, false),
        (libc::SO_KEEPALIVE, options.keep_alive, false),
    ];
    for (name, value, always) in flags {
        if value || always {
            set(name, i32::from(value))?;
        }
    }
    let numbers = [
        (libc::SO_PRIORITY, options.priority.filter(|priority| *priority != 0)),
        (libc::SO_RCVLOWAT, options.receive_low_water.filter(|bytes| *bytes > 1)),
        (libc::SO_MARK, options.mark),
        (libc::SO_OOBINLINE, options.out_of_band_inline.filter(|on| *on != 0)),
        (SO_BUF_LOCK, options.buffer_lock),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            set(name, value.cast_signed())?;
        }
    }
    for (name, (seconds, micros)) in
        [(libc::SO_SNDTIMEO, options.send_timeout), (libc::SO_RCVTIMEO, options.receive_timeout)]
    {
        let bytes = [seconds.to_ne_bytes(), micros.to_ne_bytes()].concat();
        socket::set_bytes(fd, SOCKET, name, &bytes).map_err(Error::at(what, "setsockopt"))?;
    }
    for option in &options.further {
        // The checkpoint may ask for nothing that we would not have noted.
        if FURTHER.contains(&(option.level, option.name)) {
            socket::set_int(fd, option.level, option.name, option.value)
                .map_err(Error::at(what, "setsockopt"))?;
        }
    }
    if let Some(seconds) = options.linger {
        let bytes = [1u32.to_ne_bytes(), seconds.to_ne_bytes()].concat();
        socket::set_bytes(fd, SOCKET, libc::SO_LINGER, &bytes)
            .map_err(Error::at(what, "setsockopt(SO_LINGER)"))?;
    }
    if !options.filter.is_empty() {
        socket::attach_filter(fd, &options.filter)
            .map_err(Error::at(what, "setsockopt(SO_ATTACH_FILTER)"))?;
    }
    Ok(())
}
