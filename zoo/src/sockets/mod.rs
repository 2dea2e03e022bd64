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
    tcp_established
    tcp_listening
    tcp_options
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

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::{program::Verdict, raw};

fn pair(kind: SocketType) -> anyhow::Result<(OwnedFd, OwnedFd)> {
    Ok(net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
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
