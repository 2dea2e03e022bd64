//! unix(7) sockets: pairs, listening, connected, datagram, with what waits in their queues.
//!
//! What the kernel does not tell of a socket through its descriptor comes from sock_diag(7). A
//! connection is made anew as it was made: through its listening socket if that has a name, as a pair
//! otherwise; then what waited in the queues is sent again by the other end.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown,
};
use stasis_model::{
    Ancillary, FileId, FileKind, SocketId, SocketState, Subject, Tree, UnixName, UnixPacket,
    UnixSocket,
};
use stasis_proctext::unix_diag;
use stasis_sys::socket;
use stasis_tracee::{Batch, Blank, ProcDir};

use crate::{
    descriptor,
    error::{Error, Result},
    gathering::{Gathering, OpenFd, file_of},
    socket_options,
    thawing::Thawing,
};

const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;
const SO_PEEK_OFF: i32 = 42;
const SOCK_NONBLOCK: u32 = 0o4000;

/// All unix sockets of the network namespace that a process is in, by inode.
pub fn survey(proc: &ProcDir) -> Result<HashMap<u32, unix_diag::UnixSocket>> {
    let path = "ns/net";
    let theirs = proc.read_link(path)?;
    if std::fs::read_link("/proc/self/ns/net").is_ok_and(|ours| ours == theirs) {
        return ask();
    }
    let namespace = proc.open_file(path, rustix::fs::OFlags::RDONLY)?;
    // Only a thread can change its namespace without changing that of everybody.
    let there = std::thread::spawn(move || {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)
            .map_err(Error::at("network namespace", "setns"))?;
        ask()
    });
    there.join().unwrap_or_else(|_| {
        let reason = "its sockets could not be listed".into();
        Err(Error::Unsupported { object: "network namespace".into(), reason })
    })
}

fn ask() -> Result<HashMap<u32, unix_diag::UnixSocket>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink};
    let what = "sock_diag";
    let netlink = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )
    .map_err(Error::at(what, "socket"))?;
    rustix::net::send(&netlink, &unix_diag::request(), SendFlags::empty())
        .map_err(Error::at(what, "send"))?;
    let mut sockets = HashMap::new();
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let (got, _) = rustix::net::recv(&netlink, &mut buffer[..], RecvFlags::empty())
            .map_err(Error::at(what, "recv"))?;
        let more = unix_diag::parse(&buffer[..got], &mut sockets).map_err(|malformed| {
            Error::Unsupported { object: what.into(), reason: malformed.to_string() }
        })?;
        if !more {
            return Ok(sockets);
        }
    }
}

/// A packet whose descriptors in flight are known as files once all tables were read.
pub fn freeze(open: &OpenFd, gathering: &mut Gathering) -> Result<Option<FileKind>> {
    let what = open.what();
    let inode = u32::try_from(open.stat.st_ino).unwrap_or(0);
    let fd = file_of(open)?;
    let sockets = gathering.unix_sockets(open.pid)?;
    let Some(told) = sockets.get(&inode).cloned() else {
        gathering.obstacle(open.subject(), "a unix socket in another network namespace", None);
        return Ok(None);
    };
    let waiting_at = sockets
        .values()
        .find(|other| other.waiting_clients.contains(&inode))
        .map(|listener| listener.inode);
    let peer = told.peer.filter(|peer| *peer != 0).or(waiting_at).map(SocketId);
    if waiting_at.is_some() && has_unread_output(fd) {
        gathering.obstacle(open.subject(), SENT_TOO_EARLY, None);
    }
    Ok(Some(FileKind::Unix(UnixSocket {
        socket: SocketId(inode),
        socket_type: u32::from(told.socket_type),
        state: SocketState::from_number(u32::from(told.state)),
        backlog: told.queues.1,
        peer,
        options: socket_options::freeze(&what, fd)?,
        name: freeze_name(open, fd, &told)?,
        shutdown: u32::from(told.shutdown),
        foreign_flags: 0,
    })))
}

/// What was sent lies in a socket that nobody has a descriptor of, so it cannot be read.
pub const SENT_TOO_EARLY: &str =
    "data was sent on it before the other side has accepted the connection";

/// Whether what was written to a socket has not been read by its other end.
pub fn has_unread_output(fd: BorrowedFd<'_>) -> bool {
    stasis_sys::ioctl::get_int(fd, libc::TIOCOUTQ).unwrap_or(0) > 0
}

fn freeze_name(
    open: &OpenFd,
    fd: BorrowedFd<'_>,
    told: &unix_diag::UnixSocket,
) -> Result<Option<UnixName>> {
    if told.name.is_empty() {
        return Ok(None);
    }
    let mut name =
        UnixName { bytes: told.name.clone(), directory: None, deleted: false, permissions: None };
    if told.name[0] == 0 {
        return Ok(Some(name));
    }
    // The socket file itself, by SIOCUNIXFILE: only a socket that was bound by its owner has one.
    const SIOCUNIXFILE: u64 = 0x89e0;
    let Ok(file) = stasis_sys::ioctl::open_by(fd, SIOCUNIXFILE) else { return Ok(Some(name)) };
    let stat = rustix::fs::fstat(&file).map_err(Error::at(open.what(), "fstat"))?;
    let link =
        std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    let (path, deleted) = crate::path_file::without_deleted_mark(&link);
    name.deleted = deleted || stat.st_nlink == 0;
    name.permissions = Some((stat.st_mode, stat.st_uid, stat.st_gid));
    if told.name[0] != b'/' {
        name.directory = directory_of(&path, plain(&told.name));
    }
    Ok(Some(name))
}

/// The directory relative to which `relative` leads to `path`.
fn directory_of(path: &Path, relative: &[u8]) -> Option<PathBuf> {
    let whole = path.as_os_str().as_bytes();
    let relative = relative.strip_prefix(b"./").unwrap_or(relative);
    let dir = whole.strip_suffix(relative)?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(dir)))
}

/// A path without the NUL that may be part of the address.
fn plain(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Reads the messages that wait in a socket, without taking them.
pub fn freeze_queue(open: &OpenFd, id: FileId, gathering: &mut Gathering) -> Result<()> {
    let what = open.what();
    let fd = file_of(open)?;
    let before = socket::get_int(fd, libc::SOL_SOCKET, SO_PEEK_OFF).unwrap_or(-1);
    socket::set_int(fd, libc::SOL_SOCKET, SO_PEEK_OFF, 0)
        .map_err(Error::at(&what, "SO_PEEK_OFF"))?;
    let read = read_queue(open, fd, id, gathering);
    socket::set_int(fd, libc::SOL_SOCKET, SO_PEEK_OFF, before)
        .map_err(Error::at(&what, "SO_PEEK_OFF"))?;
    read
}

fn read_queue(
    open: &OpenFd,
    fd: BorrowedFd<'_>,
    receiver: FileId,
    gathering: &mut Gathering,
) -> Result<()> {
    let what = open.what();
    let inode = u32::try_from(open.stat.st_ino).unwrap_or(0);
    let told = gathering.unix_sockets(open.pid)?.get(&inode).cloned();
    let told = told.as_ref();
    // Then the end of the connection looks like an empty message, again and again.
    let ended = told.is_some_and(|told| {
        told.shutdown & 1 != 0 || (told.peer == Some(0) && u32::from(told.socket_type) != DATAGRAM)
    });
    let mut buffer = vec![0u8; 256 * 1024];
    for _ in 0..100_000 {
        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253), ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received =
            rustix::net::recvmsg(fd, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, flags);
        let received = match received {
            Ok(received) => received,
            Err(
                rustix::io::Errno::AGAIN | rustix::io::Errno::NOTCONN | rustix::io::Errno::INVAL,
            ) => {
                return Ok(());
            }
            Err(errno) => return Err(Error::at(what, "recvmsg")(errno)),
        };
        let mut files = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        let stream = told.map(|told| u32::from(told.socket_type)) == Some(STREAM);
        if received.bytes == 0 && files.is_empty() && (stream || ended) {
            return Ok(());
        }
        if received.bytes == buffer.len() && !stream {
            let reason = "a message in it is longer than 256 KiB";
            gathering.obstacle(open.subject(), reason, None);
            return Ok(());
        }
        let mut ids = Vec::new();
        for file in files {
            match descriptor::freeze_in_flight(open, file, gathering)? {
                Some(id) => ids.push(id),
                None => return Ok(()),
            }
        }
        let sender = received.address.and_then(sender_name);
        gathering.tree.packets.push(UnixPacket {
            receiver,
            data: buffer[..received.bytes].to_vec(),
            ancillary: Ancillary { files: ids },
            sender,
        });
    }
    Ok(())
}

fn sender_name(address: rustix::net::SocketAddrAny) -> Option<Vec<u8>> {
    let unix = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    if let Some(path) = unix.path_bytes() {
        let mut bytes = path.to_vec();
        bytes.push(0);
        return Some(bytes);
    }
    let name = unix.abstract_name()?;
    let mut bytes = vec![0];
    bytes.extend_from_slice(name);
    Some(bytes)
}

/// Refuses connections whose other end is outside the tree.
pub fn check_peers(gathering: &mut Gathering) {
    let inside: Vec<SocketId> = sockets(&gathering.tree).map(|(_, socket)| socket.socket).collect();
    let mut foreign = Vec::new();
    for (id, socket) in sockets(&gathering.tree) {
        if let Some(peer) = socket.peer
            && !inside.contains(&peer)
        {
            foreign.push((id, peer));
        }
    }
    for (id, peer) in foreign {
        let subject = gathering.subjects.get(&id).cloned().unwrap_or(Subject::Tree);
        let reason = format!("a unix socket connected to socket:[{peer}] outside the tree");
        gathering.obstacle(subject, reason, None);
    }
}

fn sockets(tree: &Tree) -> impl Iterator<Item = (FileId, &UnixSocket)> {
    tree.files.iter().filter_map(|(id, file)| match &file.kind {
        FileKind::Unix(socket) => Some((*id, socket)),
        _ => None,
    })
}

/// Makes all unix sockets of the tree, connects them and fills their queues.
pub fn thaw_all(thawing: &mut Thawing, nursery: &mut Blank) -> Result<()> {
    let tree = thawing.tree();
    let all: Vec<(FileId, &UnixSocket)> = sockets(tree).collect();
    let mut made: HashMap<SocketId, OwnedFd> = HashMap::new();
    for (_, socket) in &all {
        if socket.state == SocketState::Listening {
            made.insert(socket.socket, listening(socket, nursery)?);
        }
    }
    for (_, socket) in &all {
        make_connected(socket, &all, &mut made, nursery)?;
    }
    let mut lost_peers = Vec::new();
    for (_, socket) in &all {
        if let Entry::Vacant(place) = made.entry(socket.socket) {
            let (fd, peer) = single(socket, nursery)?;
            place.insert(fd);
            lost_peers.extend(peer.map(|peer| (socket.socket, peer)));
        }
    }
    for (_, socket) in &all {
        connect_datagram(socket, &all, &made, nursery)?;
    }
    fill_queues(tree, &all, &made, &lost_peers, thawing, nursery)?;
    drop(lost_peers);
    for (_, socket) in &all {
        shut_down(socket, &made)?;
    }
    for (id, socket) in &all {
        let Some(fd) = made.remove(&socket.socket) else { continue };
        let what = describe(socket);
        socket_options::thaw_before_bind(&what, &socket.options, fd.as_fd())?;
        socket_options::thaw(&what, &socket.options, fd.as_fd())?;
        stasis_sys::fcntl::set_status_flags(fd.as_fd(), tree.files[id].flags)
            .map_err(Error::at(what, "F_SETFL"))?;
        thawing.keep_file(*id, fd);
    }
    Ok(())
}

fn describe(socket: &UnixSocket) -> String {
    match &socket.name {
        Some(name) => {
            format!("unix socket {}", String::from_utf8_lossy(&name.bytes).trim_matches('\0'))
        }
        None => format!("unix socket:[{}]", socket.socket),
    }
}

fn new_socket(socket: &UnixSocket, nursery: &mut Blank) -> Result<(i32, OwnedFd)> {
    const SOCKET: i64 = 41;
    let mut batch = Batch::new();
    // Nothing may keep us waiting; the right flags are set at the end.
    let kind = socket.socket_type | SOCK_NONBLOCK;
    let made = batch.call("socket", SOCKET, [1.into(), kind.into(), 0.into()]);
    let fd = nursery.run(&batch)?.result(made).map_err(Error::at(describe(socket), "socket"))?;
    let remote = i32::try_from(fd).expect("a descriptor is small");
    let taken = nursery.take_fd(remote)?;
    socket_options::thaw_before_bind(&describe(socket), &socket.options, taken.as_fd())?;
    Ok((remote, taken))
}

fn close_in(nursery: &mut Blank, remote: i32) -> Result<()> {
    const CLOSE: i64 = 3;
    let mut batch = Batch::new();
    batch.call("close", CLOSE, [remote.into()]);
    nursery.run(&batch)?;
    Ok(())
}

/// Binds in the blank, whose root directory is the tree's.
fn bind(socket: &UnixSocket, remote: i32, nursery: &mut Blank) -> Result<()> {
    const BIND: i64 = 49;
    const CHDIR: i64 = 80;
    const UNLINK: i64 = 87;
    const CHMOD: i64 = 90;
    const CHOWN: i64 = 92;
    let Some(name) = &socket.name else { return Ok(()) };
    let mut batch = Batch::new();
    let path = plain(&name.bytes);
    let in_file_system = name.bytes.first().is_some_and(|byte| *byte != 0);
    if let Some(directory) = &name.directory {
        let directory = batch.text(directory.as_os_str().as_bytes());
        batch.call("chdir to the socket's directory", CHDIR, [directory.into()]);
    }
    if in_file_system {
        let text = batch.text(path);
        batch.try_call("unlink", UNLINK, [text.into()]);
    }
    let mut address = 1u16.to_ne_bytes().to_vec();
    address.extend_from_slice(&name.bytes);
    let len = address.len();
    let address = batch.bytes(&address);
    batch.call("bind", BIND, [remote.into(), address.into(), len.into()]);
    if in_file_system {
        let text = batch.text(path);
        if let Some((mode, uid, gid)) = name.permissions {
            batch.try_call("chmod", CHMOD, [text.into(), (mode & 0o7777).into()]);
            batch.try_call("chown", CHOWN, [text.into(), uid.into(), gid.into()]);
        }
        if name.deleted {
            batch.try_call("unlink", UNLINK, [text.into()]);
        }
    }
    let root = batch.text(b"/");
    batch.call("chdir", CHDIR, [root.into()]);
    nursery.run(&batch)?;
    Ok(())
}

fn listening(socket: &UnixSocket, nursery: &mut Blank) -> Result<OwnedFd> {
    let (remote, fd) = new_socket(socket, nursery)?;
    bind(socket, remote, nursery)?;
    close_in(nursery, remote)?;
    let backlog = i32::try_from(socket.backlog).unwrap_or(i32::MAX);
    rustix::net::listen(&fd, backlog).map_err(Error::at(describe(socket), "listen"))?;
    Ok(fd)
}

/// Makes both ends of a connection, when the first of them is met.
fn make_connected(
    socket: &UnixSocket,
    all: &[(FileId, &UnixSocket)],
    made: &mut HashMap<SocketId, OwnedFd>,
    nursery: &mut Blank,
) -> Result<()> {
    let mutual = |other: &&UnixSocket| socket.peer == Some(other.socket);
    let Some(peer) = all.iter().map(|(_, other)| *other).find(mutual) else { return Ok(()) };
    if made.contains_key(&socket.socket) || socket.state == SocketState::Listening {
        return Ok(());
    }
    if peer.state == SocketState::Listening {
        // Not yet accepted.
        let (remote, client) = new_socket(socket, nursery)?;
        bind(socket, remote, nursery)?;
        connect(socket, peer, remote, nursery)?;
        close_in(nursery, remote)?;
        made.insert(socket.socket, client);
        return Ok(());
    }
    if peer.peer != Some(socket.socket) {
        return Ok(()); // a datagram socket connected one way
    }
    if socket.socket_type == DATAGRAM && (socket.name.is_some() || peer.name.is_some()) {
        return Ok(()); // connected by name once both are bound
    }
    // An accepted socket bears the name of the listening one.
    let listener_of = |accepted: &UnixSocket| {
        let named = |other: &&UnixSocket| {
            other.state == SocketState::Listening
                && other.name.as_ref().is_some_and(|name| !name.deleted)
                && accepted.name.as_ref().map(|name| &name.bytes)
                    == other.name.as_ref().map(|name| &name.bytes)
        };
        accepted.name.as_ref()?;
        all.iter().map(|(_, other)| *other).find(named)
    };
    let through = listener_of(socket).map(|l| (socket, peer, l));
    let through = through.or_else(|| listener_of(peer).map(|l| (peer, socket, l)));
    match through {
        Some((accepted, client, listener)) if made.contains_key(&listener.socket) => {
            let (remote, client_fd) = new_socket(client, nursery)?;
            bind(client, remote, nursery)?;
            connect(client, listener, remote, nursery)?;
            close_in(nursery, remote)?;
            let accepted_fd = rustix::net::accept_with(
                &made[&listener.socket],
                rustix::net::SocketFlags::CLOEXEC,
            )
            .map_err(Error::at(describe(listener), "accept"))?;
            made.insert(client.socket, client_fd);
            made.insert(accepted.socket, accepted_fd);
        }
        _ => {
            let (one, two) = pair(socket, nursery)?;
            made.insert(socket.socket, one);
            made.insert(peer.socket, two);
        }
    }
    Ok(())
}

fn pair(socket: &UnixSocket, nursery: &mut Blank) -> Result<(OwnedFd, OwnedFd)> {
    const SOCKETPAIR: i64 = 53;
    let mut batch = Batch::new();
    let ends = batch.space(8);
    let arguments = [1.into(), socket.socket_type.into(), 0.into(), ends.into()];
    batch.call("socketpair", SOCKETPAIR, arguments);
    let outcome = nursery.run(&batch)?;
    let [one, two] = [0, 1].map(|index| u64::from(outcome.half(ends, index)));
    Ok((descriptor::take_over(nursery, one)?, descriptor::take_over(nursery, two)?))
}

/// connect(2) by the blank, in whose directories the name is to be found.
fn connect(socket: &UnixSocket, to: &UnixSocket, remote: i32, nursery: &mut Blank) -> Result<()> {
    const CONNECT: i64 = 42;
    const CHDIR: i64 = 80;
    let Some(name) = &to.name else {
        let reason = "the socket that it is connected to has no name".into();
        return Err(Error::Unsupported { object: describe(socket), reason });
    };
    let mut batch = Batch::new();
    if let Some(directory) = &name.directory {
        let directory = batch.text(directory.as_os_str().as_bytes());
        batch.call("chdir to the socket's directory", CHDIR, [directory.into()]);
    }
    let mut address = 1u16.to_ne_bytes().to_vec();
    address.extend_from_slice(&name.bytes);
    let len = address.len();
    let address = batch.bytes(&address);
    batch.call("connect", CONNECT, [remote.into(), address.into(), len.into()]);
    let root = batch.text(b"/");
    batch.call("chdir", CHDIR, [root.into()]);
    nursery.run(&batch)?;
    Ok(())
}

/// A socket without a living peer; if it was connected, the other end is returned to be closed later.
fn single(socket: &UnixSocket, nursery: &mut Blank) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let connected = socket.state == SocketState::Established;
    if connected
        && (socket.socket_type != DATAGRAM || socket.name.is_none())
        && socket.peer.is_none()
    {
        let (one, two) = pair(socket, nursery)?;
        return Ok((one, Some(two)));
    }
    let (remote, fd) = new_socket(socket, nursery)?;
    bind(socket, remote, nursery)?;
    close_in(nursery, remote)?;
    Ok((fd, None))
}

/// Connects a datagram socket to the named one that it was connected to.
fn connect_datagram(
    socket: &UnixSocket,
    all: &[(FileId, &UnixSocket)],
    made: &HashMap<SocketId, OwnedFd>,
    nursery: &mut Blank,
) -> Result<()> {
    if socket.socket_type != DATAGRAM {
        return Ok(());
    }
    let is_peer = |other: &&UnixSocket| socket.peer == Some(other.socket);
    let Some(peer) = all.iter().map(|(_, other)| *other).find(is_peer) else { return Ok(()) };
    let Some(fd) = made.get(&socket.socket) else { return Ok(()) };
    if peer.name.is_none() || rustix::net::getpeername(fd).is_ok() {
        return Ok(());
    }
    let remote = lend(fd.as_fd(), nursery)?;
    connect(socket, peer, remote, nursery)?;
    close_in(nursery, remote)
}

/// Puts a socket of ours into the blank's table through a socket pair made for it.
fn lend(fd: BorrowedFd<'_>, nursery: &mut Blank) -> Result<i32> {
    let channel = nursery.open_channel(999)?;
    channel.send(nursery.pid(), &[fd])?;
    let mut batch = Batch::new();
    channel.receive(&mut batch);
    batch.call("close", 3, [999.into()]);
    nursery.run(&batch)?;
    // The table was empty but for the channels, so it got the lowest number.
    Ok(0)
}

/// Sends what waited, from the other end.
fn fill_queues(
    tree: &Tree,
    all: &[(FileId, &UnixSocket)],
    made: &HashMap<SocketId, OwnedFd>,
    lost_peers: &[(SocketId, OwnedFd)],
    thawing: &mut Thawing,
    nursery: &mut Blank,
) -> Result<()> {
    for packet in &tree.packets {
        let Some((_, receiver)) = all.iter().find(|(id, _)| *id == packet.receiver) else {
            continue;
        };
        for file in &packet.ancillary.files {
            descriptor::thaw_file(*file, thawing, nursery)?;
        }
        let what = describe(receiver);
        let lost = lost_peers.iter().find(|(id, _)| *id == receiver.socket).map(|(_, fd)| fd);
        let mut from = lost;
        if from.is_none() && receiver.socket_type != DATAGRAM {
            from = receiver.peer.and_then(|peer| made.get(&peer));
        }
        let sender;
        if from.is_none() {
            sender = datagram_sender(receiver, packet, all, made, nursery)?;
            from = Some(&sender);
        }
        let from = from.ok_or_else(|| Error::Unsupported {
            object: what.clone(),
            reason: "nobody is there to send what waits in it".into(),
        })?;
        let connected = rustix::net::getpeername(from).is_ok_and(|peer| peer.is_some());
        let to = if connected { None } else { target(receiver, thawing) };
        send(from.as_fd(), packet, to.as_ref(), thawing).map_err(Error::at(what, "sendmsg"))?;
    }
    Ok(())
}

/// The address of a bound socket as we can reach it, with what keeps the address alive.
fn target(
    receiver: &UnixSocket,
    thawing: &Thawing,
) -> Option<(rustix::net::SocketAddrUnix, Option<OwnedFd>)> {
    let name = receiver.name.as_ref()?;
    if let Some(abstract_name) = name.bytes.strip_prefix(&[0]) {
        return Some((rustix::net::SocketAddrUnix::new_abstract_name(abstract_name).ok()?, None));
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(plain(&name.bytes)));
    let path = name.directory.as_deref().unwrap_or(Path::new("/")).join(path);
    let relative = path.strip_prefix("/").unwrap_or(&path);
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let (mode, within) = (rustix::fs::Mode::empty(), rustix::fs::ResolveFlags::IN_ROOT);
    let file = stasis_sys::openat2::open(thawing.root(), relative, flags, mode, within).ok()?;
    let by_fd = format!("/proc/self/fd/{}", file.as_raw_fd());
    Some((rustix::net::SocketAddrUnix::new(by_fd).ok()?, Some(file)))
}

fn send(
    from: BorrowedFd<'_>,
    packet: &UnixPacket,
    to: Option<&(rustix::net::SocketAddrUnix, Option<OwnedFd>)>,
    thawing: &Thawing,
) -> rustix::io::Result<()> {
    let files: Vec<BorrowedFd<'_>> =
        packet.ancillary.files.iter().filter_map(|id| thawing.file(*id)).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut sent = 0;
    loop {
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && sent == 0 {
            ancillary.push(SendAncillaryMessage::ScmRights(&files));
        }
        let rest = [IoSlice::new(&packet.data[sent..])];
        sent += match to {
            Some((address, _)) => rustix::net::sendmsg_addr(
                from,
                address,
                &rest,
                &mut ancillary,
                SendFlags::DONTWAIT,
            )?,
            None => rustix::net::sendmsg(from, &rest, &mut ancillary, SendFlags::DONTWAIT)?,
        };
        if sent >= packet.data.len() {
            return Ok(());
        }
    }
}

/// A socket that can send to a datagram socket: its peer, whoever bears the sender's name, or a new one.
fn datagram_sender(
    receiver: &UnixSocket,
    packet: &UnixPacket,
    all: &[(FileId, &UnixSocket)],
    made: &HashMap<SocketId, OwnedFd>,
    nursery: &mut Blank,
) -> Result<OwnedFd> {
    let what = describe(receiver);
    if packet.sender.is_none()
        && let Some(peer) = receiver.peer.and_then(|peer| made.get(&peer))
    {
        return Thawing::duplicate(peer.as_fd(), &what);
    }
    let bears = |socket: &&UnixSocket| {
        packet.sender.is_some()
            && socket.name.as_ref().map(|name| plain(&name.bytes))
                == packet.sender.as_deref().map(plain)
            && socket.socket_type == DATAGRAM
    };
    if let Some(sender) = all.iter().map(|(_, socket)| *socket).find(bears)
        && let Some(fd) = made.get(&sender.socket)
    {
        return Thawing::duplicate(fd.as_fd(), &what);
    }
    // The sender is gone: a new socket speaks in its place.
    let stand_in = UnixSocket {
        socket: SocketId(0),
        peer: None,
        name: packet.sender.as_ref().map(|bytes| UnixName {
            bytes: bytes.clone(),
            directory: None,
            deleted: true,
            permissions: None,
        }),
        state: SocketState::Closed,
        ..receiver.clone()
    };
    let taken = all.iter().any(|(_, socket)| {
        socket.name.as_ref().map(|name| plain(&name.bytes)) == packet.sender.as_deref().map(plain)
    });
    let (remote, fd) = new_socket(&stand_in, nursery)?;
    if !taken {
        bind(&stand_in, remote, nursery)?;
    }
    connect(&stand_in, receiver, remote, nursery)?;
    close_in(nursery, remote)?;
    Ok(fd)
}

fn shut_down(socket: &UnixSocket, made: &HashMap<SocketId, OwnedFd>) -> Result<()> {
    let how = match socket.shutdown {
        0 => return Ok(()),
        1 => Shutdown::Read,
        2 => Shutdown::Write,
        _ => Shutdown::Both,
    };
    let Some(fd) = made.get(&socket.socket) else { return Ok(()) };
    match rustix::net::shutdown(fd, how) {
        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
        Err(errno) => Err(Error::at(describe(socket), "shutdown")(errno)),
    }
}
