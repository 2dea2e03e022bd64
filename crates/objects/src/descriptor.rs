//! Tables of descriptors, and which kind of file stands behind each.

use std::{
    collections::BTreeMap,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::fs::FileType;
use stasis_model::{
    AsyncOwner, AsyncOwnerKind, Descriptor, DescriptorTable, FdNumber, FileId, FileKind, NsPid,
    OpenFile, SocketState, TableId,
};
use stasis_sys::{fcntl, kcmp};
use stasis_tracee::{Batch, Blank, Channel, MAX_FDS, Patient, ProcDir};

use crate::{
    epoll,
    error::{Error, Result},
    eventfd, fifo, file_lock,
    gathering::{Gathering, OpenFd, file_of},
    inet_socket, inotify, memfd, path_file, pipe, signalfd, tcp_connection, terminal,
    thawing::Thawing,
    timerfd, unix_socket,
};

const O_CLOEXEC: u32 = 0o2_000_000;
const O_PATH: u32 = 0o10_000_000;

/// What a link in `/proc/PID/fd` and the file's mode say it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Path,
    Pipe,
    Fifo,
    Eventfd,
    Epoll,
    Timerfd,
    Signalfd,
    Memfd(Vec<u8>),
    Inotify,
    /// Which end of it is known once it is in our hands.
    Terminal,
    /// Its family is known once it is in our hands.
    Socket,
    /// Cannot be kept, and why.
    Obstacle(String),
}

/// Tells the kind of an open file without touching it.
pub fn classify(link: &[u8], stat: &rustix::fs::Stat, flags: u32) -> Kind {
    if let Some(inner) = link.strip_prefix(b"anon_inode:") {
        return classify_anonymous(inner);
    }
    if link.starts_with(b"pipe:[") {
        return Kind::Pipe;
    }
    if link.starts_with(b"socket:[") {
        return Kind::Socket;
    }
    if let Some(name) = memfd::name_in_link(link) {
        return Kind::Memfd(name.to_vec());
    }
    if !link.starts_with(b"/") {
        let name = String::from_utf8_lossy(link);
        return Kind::Obstacle(format!("{name} cannot be kept"));
    }
    if flags & O_PATH != 0 {
        return Kind::Path;
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Directory => Kind::Path,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => classify_device(stat.st_rdev),
        FileType::BlockDevice => Kind::Obstacle("a block device".into()),
        FileType::Symlink | FileType::Socket | FileType::Unknown => {
            Kind::Obstacle("a file of an unexpected kind".into())
        }
    }
}

fn classify_anonymous(inner: &[u8]) -> Kind {
    match inner {
        b"[eventfd]" => Kind::Eventfd,
        b"[eventpoll]" => Kind::Epoll,
        b"[timerfd]" => Kind::Timerfd,
        b"[signalfd]" => Kind::Signalfd,
        b"inotify" => Kind::Inotify,
        b"[io_uring]" => Kind::Obstacle("an io_uring instance".into()),
        b"[perf_event]" => Kind::Obstacle("a perf event counter".into()),
        b"[userfaultfd]" => Kind::Obstacle("a userfaultfd".into()),
        other => {
            let name = String::from_utf8_lossy(other);
            Kind::Obstacle(format!("{} cannot be kept", name.trim_matches(['[', ']'])))
        }
    }
}

/// Devices without state of their own.
fn classify_device(rdev: u64) -> Kind {
    match (rustix::fs::major(rdev), rustix::fs::minor(rdev)) {
        (1, 3 | 5 | 7 | 8 | 9) => Kind::Path, // null, zero, full, random, urandom
        (5, 0 | 2) | (136..=143, _) => Kind::Terminal,
        (4, minor) | (5, minor) => Kind::Obstacle(format!(
            "the terminal {}:{minor}, which is no pseudoterminal",
            rustix::fs::major(rdev)
        )),
        (major, minor) => Kind::Obstacle(format!("the character device {major}:{minor}")),
    }
}

/// What `/proc` tells of all descriptors of a task.
pub fn look_at_all(proc: &ProcDir, name: &str) -> Result<Vec<OpenFd>> {
    proc.descriptors()?.into_iter().map(|fd| look_from_outside(proc, name, fd)).collect()
}

/// Freezes a task's table, whose descriptors were looked at; tables shared by clone(2) are frozen once.
pub fn freeze_table(
    patient: &Patient,
    looked_at: Vec<OpenFd>,
    gathering: &mut Gathering,
) -> Result<TableId> {
    let place = match find_table(patient, gathering)? {
        Ok(shared) => return Ok(shared),
        Err(place) => place,
    };
    let id = TableId(u32::try_from(patient.pid()).unwrap_or(0));
    gathering.tables.insert(place, (patient.pid(), id));
    gathering.tree.tables.insert(id, DescriptorTable::default());
    let mut descriptors = BTreeMap::new();
    for mut open in looked_at {
        if open.common.flags & O_PATH == 0 {
            open.file = Some(patient.take_fd(open.fd)?);
        }
        let Some(file) = freeze_file(&open, id, gathering)? else { continue };
        file_lock::freeze(&open, file, NsPid(patient.own_pid()), gathering);
        let close_on_exec = open.common.flags & O_CLOEXEC != 0;
        descriptors.insert(FdNumber(open.fd), Descriptor { file, close_on_exec });
    }
    gathering.tree.tables.insert(id, DescriptorTable { descriptors });
    Ok(id)
}

/// Finds the table among those that were met, or its place among them.
fn find_table(
    patient: &Patient,
    gathering: &Gathering,
) -> Result<std::result::Result<TableId, usize>> {
    let (mut low, mut high) = (0, gathering.tables.len());
    while low < high {
        let middle = low.midpoint(high);
        let (other, id) = gathering.tables[middle];
        let order = kcmp::compare((patient.pid(), other), kcmp::Kind::DescriptorTable, (0, 0))
            .map_err(Error::at(format!("task {}", patient.pid()), "kcmp"))?;
        match order {
            std::cmp::Ordering::Equal => return Ok(Ok(id)),
            std::cmp::Ordering::Less => high = middle,
            std::cmp::Ordering::Greater => low = middle + 1,
        }
    }
    Ok(Err(low))
}

/// What `/proc` tells of a descriptor; the file itself is not taken.
pub fn look_from_outside(proc: &ProcDir, name: &str, fd: i32) -> Result<OpenFd> {
    let info = proc.read(format!("fdinfo/{fd}"))?;
    let what = format!("task {} ({name}), descriptor {fd}", proc.pid());
    let common = stasis_proctext::fdinfo::common(&info).map_err(|malformed| {
        Error::Unsupported { object: what.clone(), reason: malformed.to_string() }
    })?;
    let stat = rustix::fs::statat(proc.as_fd(), format!("fd/{fd}"), rustix::fs::AtFlags::empty())
        .map_err(Error::at(what, "stat"))?;
    let link = proc.read_link(format!("fd/{fd}"))?;
    Ok(OpenFd { pid: proc.pid(), name: name.into(), fd, link, info, common, stat, file: None })
}

/// Tells the kind of an open file of a task.
pub fn kind_of(open: &OpenFd) -> Kind {
    let kind = classify(open.link.as_os_str().as_bytes(), &open.stat, open.flags());
    match kind {
        Kind::Path => obstacle_of_file_system(open).map_or(Kind::Path, Kind::Obstacle),
        other => other,
    }
}

/// Some file systems have files that look like any others.
fn obstacle_of_file_system(open: &OpenFd) -> Option<String> {
    const MQUEUE_MAGIC: u32 = 0x1980_0202;
    const SECRETMEM_MAGIC: u32 = 0x5345_434d;
    let path = format!("/proc/{}/fd/{}", open.pid, open.fd);
    let is_regular = FileType::from_raw_mode(open.stat.st_mode) == FileType::RegularFile;
    let kind = is_regular.then(|| rustix::fs::statfs(path).ok()).flatten()?;
    match kind.f_type as u32 {
        MQUEUE_MAGIC => Some("a POSIX message queue".into()),
        SECRETMEM_MAGIC => Some("secret memory (memfd_secret(2))".into()),
        _ => None,
    }
}

fn freeze_file(open: &OpenFd, table: TableId, gathering: &mut Gathering) -> Result<Option<FileId>> {
    if let Some(known) = gathering.known_file(open)? {
        return Ok(Some(known));
    }
    let kind = match kind_of(open) {
        Kind::Path => path_file::freeze(open, gathering)?,
        Kind::Pipe => pipe::freeze(open, gathering)?,
        Kind::Fifo => fifo::freeze(open, gathering)?,
        Kind::Eventfd => eventfd::freeze(open, gathering)?,
        Kind::Epoll => epoll::freeze(open)?,
        Kind::Timerfd => timerfd::freeze(open)?,
        Kind::Signalfd => signalfd::freeze(open)?,
        Kind::Memfd(name) => memfd::freeze(open, &name, gathering)?,
        Kind::Inotify => inotify::freeze(open, gathering)?,
        Kind::Terminal => match terminal::freeze(open, gathering)? {
            Some(kind) => kind,
            None => return Ok(None),
        },
        Kind::Socket => match freeze_socket(open, gathering)? {
            Some(kind) => kind,
            None => return Ok(None),
        },
        Kind::Obstacle(reason) => {
            gathering.obstacle(open.subject(), reason, None);
            return Ok(None);
        }
    };
    let owner = freeze_owner(open, gathering)?;
    let is_epoll = matches!(kind, FileKind::Epoll(_));
    let queue = match &kind {
        FileKind::Unix(socket) => socket.state != SocketState::Listening,
        _ => false,
    };
    let connection = match &kind {
        FileKind::Inet(socket) if socket.is_connection() => Some(socket.clone()),
        _ => None,
    };
    let id = gathering.add_file(OpenFile { flags: open.flags(), owner, kind });
    gathering.remember_file(open, id);
    if let Some(socket) = connection {
        tcp_connection::resolve_later(open, id, &socket, gathering)?;
    }
    if queue {
        unix_socket::freeze_queue(open, id, gathering)?;
    }
    if is_epoll {
        epoll::resolve_later(id, open, table, gathering);
    }
    Ok(Some(id))
}

fn freeze_socket(open: &OpenFd, gathering: &mut Gathering) -> Result<Option<FileKind>> {
    match socket_obstacle_or_family(file_of(open)?) {
        Ok(AF_UNIX) => unix_socket::freeze(open, gathering),
        Ok(_) => inet_socket::freeze(open, gathering),
        Err(reason) => {
            gathering.obstacle(open.subject(), reason, None);
            Ok(None)
        }
    }
}

const AF_UNIX: i32 = 1;
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

/// The family of a socket, or why it cannot be kept.
pub fn socket_obstacle_or_family(socket: BorrowedFd<'_>) -> std::result::Result<i32, String> {
    let family = stasis_sys::socket::get_int(socket, libc::SOL_SOCKET, libc::SO_DOMAIN)
        .map_err(|errno| format!("a socket of unknown family: {errno}"))?;
    match family {
        AF_UNIX => Ok(family),
        AF_INET | AF_INET6 => inet_socket::obstacle(socket).map_or(Ok(family), Err),
        libc::AF_NETLINK => Err("a netlink socket".into()),
        libc::AF_PACKET => Err("a packet socket".into()),
        other => Err(format!("a socket of family {other}")),
    }
}

/// Freezes a file that is on its way through a unix socket and maybe in nobody's table.
pub fn freeze_in_flight(
    carrier: &OpenFd,
    file: OwnedFd,
    gathering: &mut Gathering,
) -> Result<Option<FileId>> {
    let me = ProcDir::open(std::process::id().cast_signed())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    let mut open = look_from_outside(&me, &carrier.name, number)?;
    if open.flags() & O_PATH == 0 {
        open.file = Some(file);
    }
    if stasis_proctext::fdinfo::locks(&open.info).is_ok_and(|locks| !locks.is_empty()) {
        let reason = "a file with a lock is on its way through it";
        gathering.obstacle(carrier.subject(), reason, None);
    }
    let id = freeze_file(&open, TableId(0), gathering)?;
    // Kept open, so that another descriptor of it can still be compared with it.
    if let (Some(id), Some(file)) = (id, open.file) {
        gathering.ours.entry(id).or_insert(file);
    }
    Ok(id)
}

/// Who gets `SIGIO` (fcntl(2), "Managing signals").
fn freeze_owner(open: &OpenFd, gathering: &mut Gathering) -> Result<Option<AsyncOwner>> {
    let Some(file) = &open.file else { return Ok(None) };
    let what = open.what();
    let owner = fcntl::owner(file.as_fd()).map_err(Error::at(&what, "F_GETOWN_EX"))?;
    if owner.pid == 0 {
        return Ok(None);
    }
    let (uid, euid) = fcntl::owner_uids(file.as_fd()).unwrap_or((0, 0));
    let signal = fcntl::signal(file.as_fd()).map_err(Error::at(&what, "F_GETSIG"))?;
    let Some(id) = gathering.own_id(owner.pid) else {
        gathering.loss(
            open.subject(),
            format!("its owner for signals, {}, outside the tree", owner.pid),
        );
        return Ok(None);
    };
    let kind = match owner.kind {
        0 => AsyncOwnerKind::Thread,
        2 => AsyncOwnerKind::Group,
        _ => AsyncOwnerKind::Process,
    };
    Ok(Some(AsyncOwner { uid, euid, signal: signal.cast_unsigned(), kind, id }))
}

/// Opens or makes the file once and keeps it for all descriptors that share it.
pub fn thaw_file(id: FileId, thawing: &mut Thawing, nursery: &mut Blank) -> Result<()> {
    if thawing.file(id).is_some() {
        return Ok(());
    }
    let file = thawing.model_file(id);
    let made = match &file.kind {
        FileKind::Path(path) => path_file::thaw(path, file, thawing)?,
        FileKind::Pipe(end) => match thawing.inherited(&format!("pipe:[{}]", end.pipe)) {
            Some(given) => Thawing::duplicate(given, "external pipe")?,
            None => pipe::thaw(end, file, thawing)?,
        },
        FileKind::Fifo(fifo) => fifo::thaw(fifo, file, thawing)?,
        FileKind::Eventfd(eventfd) => eventfd::thaw(eventfd, file)?,
        FileKind::Epoll(_) => epoll::thaw()?,
        FileKind::Timerfd(timer) => timerfd::thaw(timer, file)?,
        FileKind::Signalfd(signalfd) => signalfd::thaw(signalfd, file, nursery)?,
        FileKind::Memfd(memfd) => memfd::thaw(memfd, file, thawing)?,
        FileKind::Inotify(inotify) => inotify::thaw(inotify, file, thawing)?,
        FileKind::Inet(inet) if inet.is_connection() => {
            tcp_connection::thaw(id, inet, file, thawing, nursery)?
        }
        FileKind::Inet(inet) => inet_socket::thaw(inet, file, nursery)?,
        FileKind::Unix(_)
        | FileKind::Terminal(_)
        | FileKind::Namespace { .. }
        | FileKind::Pidfd { .. } => {
            return Err(Error::Unsupported {
                object: format!("open file {id}"),
                reason: "files of its kind cannot be restored yet".into(),
            });
        }
    };
    thawing.keep_file(id, made);
    Ok(())
}

/// Makes all internet sockets. Listening ones come before connections, which share their ports: those
/// may always take a port, but not the other way round.
///
/// # Errors
/// Whatever stands in the way of one of them.
pub fn thaw_internet_sockets(thawing: &mut Thawing, nursery: &mut Blank) -> Result<()> {
    let sockets = thawing.tree().files.iter().filter_map(|(id, file)| match &file.kind {
        FileKind::Inet(socket) => Some((*id, socket.is_connection())),
        _ => None,
    });
    let (connections, others): (Vec<_>, Vec<_>) = sockets.partition(|(_, connects)| *connects);
    others.into_iter().chain(connections).try_for_each(|(id, _)| thaw_file(id, thawing, nursery))
}

/// Sets who gets `SIGIO`, when all tasks exist; `host` finds a task by its own id.
pub fn thaw_owners(thawing: &Thawing, host: &dyn Fn(NsPid) -> Option<i32>) -> Result<()> {
    for (id, file) in &thawing.tree().files {
        let (Some(owner), Some(made)) = (file.owner, thawing.file(*id)) else { continue };
        let Some(pid) = host(owner.id) else { continue };
        let kind = match owner.kind {
            AsyncOwnerKind::Thread => 0,
            AsyncOwnerKind::Process => 1,
            AsyncOwnerKind::Group => 2,
        };
        let what = format!("open file {id}");
        fcntl::set_owner(made, fcntl::Owner { kind, pid })
            .map_err(Error::at(&what, "F_SETOWN_EX"))?;
        fcntl::set_signal(made, owner.signal.cast_signed())
            .map_err(Error::at(&what, "F_SETSIG"))?;
    }
    Ok(())
}

/// Puts the descriptors of a table into a blank whose table is empty but for the channel.
pub fn thaw_table(
    table: &DescriptorTable,
    blank: &mut Blank,
    channel: &Channel,
    thawing: &Thawing,
) -> Result<()> {
    let entries: Vec<(i32, &Descriptor)> =
        table.descriptors.iter().map(|(fd, descriptor)| (fd.0, descriptor)).collect();
    // Received descriptors get the lowest numbers and are moved up from there, so the highest go first.
    let mut end = entries.len();
    while end > 0 {
        let start = end.saturating_sub(MAX_FDS);
        let chunk = &entries[start..end];
        let files: Vec<BorrowedFd<'_>> = chunk
            .iter()
            .map(|(_, descriptor)| {
                thawing.file(descriptor.file).expect("all files of a table were thawed before")
            })
            .collect();
        channel.send(blank.pid(), &files)?;
        let mut batch = Batch::new();
        channel.receive(&mut batch);
        let free = (0..).filter(|number| *number != channel.remote_fd());
        let received: Vec<(i32, &(i32, &Descriptor))> = free.zip(chunk).collect();
        for (received, (fd, descriptor)) in received.into_iter().rev() {
            place(received, *fd, descriptor, &mut batch);
        }
        blank.run(&batch)?;
        end = start;
    }
    Ok(())
}

fn place(received: i32, wanted: i32, descriptor: &Descriptor, batch: &mut Batch) {
    const CLOSE: i64 = 3;
    const FCNTL: i64 = 72;
    const DUP3: i64 = 292;
    const F_SETFD: i32 = 2;
    if received == wanted {
        if descriptor.close_on_exec {
            batch.call("fcntl(F_SETFD)", FCNTL, [wanted.into(), F_SETFD.into(), 1.into()]);
        }
        return;
    }
    let flags = if descriptor.close_on_exec { O_CLOEXEC } else { 0 };
    batch.call("dup3", DUP3, [received.into(), wanted.into(), flags.into()]);
    batch.call("close", CLOSE, [received.into()]);
}

/// Adds the watches of the epoll files in a table that is in place.
pub fn thaw_watches(
    table: &DescriptorTable,
    (thawing, channel): (&Thawing, &Channel),
    done: &mut Vec<FileId>,
    batch: &mut Batch,
) {
    for (fd, descriptor) in &table.descriptors {
        let file = thawing.model_file(descriptor.file);
        let FileKind::Epoll(epoll) = &file.kind else { continue };
        if done.contains(&descriptor.file) {
            continue;
        }
        done.push(descriptor.file);
        for watch in &epoll.watches {
            add_watch(table, watch, (*fd, channel.remote_fd()), batch);
        }
    }
}

fn add_watch(
    table: &DescriptorTable,
    watch: &stasis_model::EpollWatch,
    (epoll_fd, channel): (FdNumber, i32),
    batch: &mut Batch,
) {
    let Some(target) = watch.file else {
        let single = stasis_model::Epoll { watches: vec![*watch] };
        epoll::add_watches(&single, epoll_fd, batch);
        return;
    };
    let holder = table.descriptors.iter().find(|(_, descriptor)| descriptor.file == target);
    let Some((holder, _)) = holder else { return };
    let is_free =
        |fd: &FdNumber| !table.descriptors.contains_key(fd) && fd.0 != channel && *fd != watch.fd;
    let parking = (0..).map(FdNumber).find(is_free).expect("numbers are endless");
    let occupied = table.descriptors.get(&watch.fd).map(|descriptor| descriptor.close_on_exec);
    epoll::add_displaced_watch(watch, epoll_fd, (*holder, parking, occupied), batch);
}

/// Takes a descriptor that a remote call made out of the blank's table into ours.
pub fn take_over(blank: &mut Blank, fd: u64) -> Result<OwnedFd> {
    const CLOSE: i64 = 3;
    let fd = i32::try_from(fd).expect("a descriptor is small");
    let taken = blank.take_fd(fd)?;
    let mut batch = Batch::new();
    batch.call("close", CLOSE, [fd.into()]);
    blank.run(&batch)?;
    Ok(taken)
}

/// Opens a path file for mapping, executing or entering it.
pub fn open_path(id: FileId, flags: u32, thawing: &mut Thawing) -> Result<OwnedFd> {
    let FileKind::Path(path) = &thawing.model_file(id).kind else {
        let reason = "it is no file with a path".into();
        return Err(Error::Unsupported { object: format!("file {id}"), reason });
    };
    path_file::open(path, flags, thawing)
}

/// Whether a root directory is simply that of the mount namespace.
pub fn is_namespace_root(id: FileId, thawing: &Thawing) -> bool {
    let file = thawing.model_file(id);
    matches!(&file.kind, FileKind::Path(path) if path.path.as_os_str() == "/")
}
