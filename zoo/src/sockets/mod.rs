//! Sockets.

crate::programs! { "sockets";
    closed_peer
    descriptors_in_flight
    filter
    netlink
    packet
    packet_pairs
    pair_of_processes
    raw_ip
    stream_pair
    tcp_accepting_queue
    tcp_connecting
    tcp_end_waits
    tcp_ended
    tcp_established
    tcp_families
    tcp_half_closed
    tcp_listening
    tcp_one_end_closed
    tcp_options
    tcp_peer_outside
    tcp_peer_speaks
    tcp_queues
    tcp_reset
    tcp_shared_port
    tcp_unconnected
    udp
    udp_corked
    udp_data
    udp_options
    unix_connected
    unix_credentials
    unix_datagrams
    unix_listening
    unix_name_deleted
    unix_options
    unix_shutdown
    unix_unaccepted
    unix_unconnected
}

use std::{
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::{program::Verdict, raw, stage::Stage};

fn pair(kind: SocketType) -> anyhow::Result<(OwnedFd, OwnedFd)> {
    Ok(net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Two ends of a TCP connection.
fn tcp_pair(address: &str) -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((address, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

/// Starts a process that is not of the tree: a grandchild whose parent has ended.
fn stranger(stage: &Stage, body: impl FnOnce(&Stage) -> Verdict) -> Verdict {
    let child = raw::fork(stage, |stage| {
        raw::fork(stage, |stage| {
            // Nothing of the tree is its own, so that the ids of the tree are free for a restore.
            rustix::process::setsid()?;
            body(stage)
        })?;
        Ok(())
    })?;
    child.join(stage)
}

/// The state of a connection (tcp(7), `TCP_INFO`).
fn tcp_state(stream: &TcpStream) -> anyhow::Result<u8> {
    let (mut info, mut len) = ([0_u8; 8], 8_u32);
    let arguments = [
        stream.as_raw_fd() as usize,
        libc::IPPROTO_TCP as usize,
        libc::TCP_INFO as usize,
        raw::into(&mut info),
        raw::into(&mut len),
    ];
    raw::syscall(libc::SYS_getsockopt, &arguments)?;
    Ok(info[0])
}

/// Byte number `at` of a stream that nobody can take for another one.
fn tcp_byte(at: usize) -> u8 {
    (at % 251) as u8 ^ (at / 251 % 256) as u8
}

/// Writes until the other side takes no more; tells how much that was.
fn tcp_stuff(mut stream: &TcpStream) -> anyhow::Result<usize> {
    use std::io::Write;
    let mut written = 0;
    stream.set_nonblocking(true)?;
    // Memory for segments on their way comes back in a moment.
    for _ in 0..10 {
        loop {
            let chunk: Vec<u8> = (written..written + 4096).map(tcp_byte).collect();
            match stream.write(&chunk) {
                Ok(count) => written += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    stream.set_nonblocking(false)?;
    Ok(written)
}

/// Reads what [`tcp_stuff`] wrote, from byte `start` on.
fn tcp_check(mut stream: &TcpStream, (start, end): (usize, usize)) -> Verdict {
    use std::io::Read;
    let mut bytes = vec![0; end - start];
    stream.read_exact(&mut bytes)?;
    let wrong = bytes.iter().zip(start..).find(|(byte, at)| **byte != tcp_byte(*at));
    anyhow::ensure!(wrong.is_none(), "byte {wrong:?} of {end} is wrong");
    Ok(())
}

fn send_fds(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Verdict {
    use net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); 128];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(socket, &[std::io::IoSlice::new(bytes)], &mut control, SendFlags::empty())?;
    Ok(())
}

fn receive_fds(socket: impl AsFd, len: usize) -> anyhow::Result<(Vec<u8>, Vec<OwnedFd>)> {
    use net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); 128];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; len];
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::DONTWAIT)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    bytes.truncate(received.bytes);
    Ok((bytes, fds))
}

type OptionName = (i32, i32);

const TCP_OPTIONS: &[OptionName] = &[
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::SOL_SOCKET, libc::SO_ACCEPTCONN),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_FREEBIND),
];

const UDP_OPTIONS: &[OptionName] = &[
    (libc::SOL_SOCKET, libc::SO_BROADCAST),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IP, libc::IP_RECVTTL),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
];

fn set_option(socket: impl AsFd, level: i32, name: i32, value: i32) -> Verdict {
    let fd = socket.as_fd().as_raw_fd() as usize;
    let arguments = [fd, level as usize, name as usize, raw::at(&value), 4];
    raw::syscall(libc::SYS_setsockopt, &arguments)
        .map_err(|error| anyhow::anyhow!("option {level}/{name}: {error}"))?;
    Ok(())
}

/// The values of some options, one after the other.
fn options(socket: impl AsFd, names: &[OptionName]) -> anyhow::Result<String> {
    let fd = socket.as_fd().as_raw_fd() as usize;
    let read = |(level, name): &OptionName| -> anyhow::Result<String> {
        let (mut value, mut len) = (0_i32, 4_u32);
        let arguments =
            [fd, *level as usize, *name as usize, raw::into(&mut value), raw::into(&mut len)];
        raw::syscall(libc::SYS_getsockopt, &arguments)?;
        Ok(format!("{level}/{name}={value}"))
    };
    Ok(names.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?.join(" "))
}
