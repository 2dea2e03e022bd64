//! Open files of all kinds: the table `files.img`.
//!
//! FIFOs and terminals have their path in a record of its own, and plain shared memory that is mapped
//! has a record as if a memfd were open. In the model both are gone: a path is part of its file, and
//! mappings name their segment.

use std::collections::{BTreeMap, BTreeSet};

use stasis_model::{
    Fifo, FileId, FileKind, Memfd, NamespaceKind, NsPid, OpenFile, PathFile, PipeEnd, PipeId,
    Remap, SegmentId, SocketId, TcpConnection, TerminalFile, Tree, TtyId,
};

use super::{
    epoll, events, inet_socket, inotify,
    namespaces::namespace_id,
    owner,
    path_file::{self, Reg},
    segments,
    source::{Input, Output},
    unix_socket,
};
use crate::{
    Error, Result,
    error::Place,
    wire::{
        fdinfo::FileEntry,
        fown::FownEntry,
        memfd::MemfdFileEntry,
        pidfd::{NsFileEntry, PidfdEntry},
        pipe::{FifoEntry, PipeEntry},
        tty::TtyFileEntry,
    },
};

const FILE: &str = "files.img";

/// Numbers of `fd_types`.
pub(super) mod fd_type {
    pub const REG: u32 = 1;
    pub const PIPE: u32 = 2;
    pub const FIFO: u32 = 3;
    pub const INETSK: u32 = 4;
    pub const UNIXSK: u32 = 5;
    pub const EVENTFD: u32 = 6;
    pub const EVENTPOLL: u32 = 7;
    pub const INOTIFY: u32 = 8;
    pub const SIGNALFD: u32 = 9;
    pub const PACKETSK: u32 = 10;
    pub const TTY: u32 = 11;
    pub const FANOTIFY: u32 = 12;
    pub const NETLINKSK: u32 = 13;
    pub const NS: u32 = 14;
    pub const TUNF: u32 = 15;
    pub const EXT: u32 = 16;
    pub const TIMERFD: u32 = 17;
    pub const MEMFD: u32 = 18;
    pub const BPFMAP: u32 = 19;
    pub const PIDFD: u32 = 20;
}

/// The number by which `fdinfo-N.img` tells the kind of a file.
pub(super) fn type_of(kind: &FileKind) -> u32 {
    match kind {
        FileKind::Path(_) => fd_type::REG,
        FileKind::Pipe(_) => fd_type::PIPE,
        FileKind::Fifo(_) => fd_type::FIFO,
        FileKind::Eventfd(_) => fd_type::EVENTFD,
        FileKind::Epoll(_) => fd_type::EVENTPOLL,
        FileKind::Timerfd(_) => fd_type::TIMERFD,
        FileKind::Signalfd(_) => fd_type::SIGNALFD,
        FileKind::Inotify(_) => fd_type::INOTIFY,
        FileKind::Memfd(_) => fd_type::MEMFD,
        FileKind::Unix(_) => fd_type::UNIXSK,
        FileKind::Inet(_) => fd_type::INETSK,
        FileKind::Terminal(_) => fd_type::TTY,
        FileKind::Namespace { .. } => fd_type::NS,
        FileKind::Pidfd { .. } => fd_type::PIDFD,
    }
}

/// Numbers of records that the model does not have.
pub(super) struct Numbers {
    /// Records of the paths of FIFOs and terminals.
    pub paths: BTreeMap<FileId, FileId>,
    /// Open files that stand for mapped segments.
    pub segments: BTreeMap<SegmentId, FileId>,
}

impl Numbers {
    pub fn of(tree: &Tree) -> Self {
        let mut used: BTreeSet<FileId> = tree.files.keys().copied().collect();
        let mut candidates = (1..=u32::MAX).map(FileId);
        let mut take = |wish: Option<FileId>| {
            let wish = wish.filter(|id| id.0 != 0 && !used.contains(id));
            let id = wish.or_else(|| candidates.by_ref().find(|id| !used.contains(id)));
            let id = id.expect("fewer files than numbers");
            used.insert(id);
            id
        };
        let mut paths = BTreeMap::new();
        for (id, file) in &tree.files {
            if let Some((wish, _)) = embedded_path(&file.kind) {
                paths.insert(*id, take(Some(wish)));
            }
        }
        Numbers { paths, segments: segments::file_ids(&segments::mapped(tree), || take(None)) }
    }
}

/// The path inside another kind of file, and the number its record had.
pub(super) fn embedded_path(kind: &FileKind) -> Option<(FileId, &PathFile)> {
    match kind {
        FileKind::Fifo(fifo) => Some((fifo.path_id, &fifo.path)),
        FileKind::Terminal(terminal) => Some((terminal.path_id, &terminal.path)),
        FileKind::Path(_)
        | FileKind::Pipe(_)
        | FileKind::Eventfd(_)
        | FileKind::Epoll(_)
        | FileKind::Timerfd(_)
        | FileKind::Signalfd(_)
        | FileKind::Inotify(_)
        | FileKind::Memfd(_)
        | FileKind::Unix(_)
        | FileKind::Inet(_)
        | FileKind::Namespace { .. }
        | FileKind::Pidfd { .. } => None,
    }
}

pub(super) fn encode(
    tree: &Tree,
    numbers: &Numbers,
    inodes: &segments::Inodes,
    out: &mut Output,
) -> Result<()> {
    let mut entries = Vec::new();
    for (id, file) in &tree.files {
        if let Some((_, path)) = embedded_path(&file.kind) {
            entries.push(encode_path(numbers.paths[id], file, path)?);
        }
        entries.push(encode_file(tree, numbers, inodes, *id, file)?);
    }
    for (segment, id) in &numbers.segments {
        entries.push(encode_memfd(*id, 0, FownEntry::default(), 0, inodes[segment]));
    }
    out.all(FILE, &entries);
    Ok(())
}

fn encode_path(id: FileId, file: &OpenFile, path: &PathFile) -> Result<FileEntry> {
    let reg = path_file::encode(id, file.flags, owner::encode(file.owner.as_ref()), path)?;
    Ok(FileEntry { r#type: fd_type::REG, id: id.0, reg: Some(reg), ..Default::default() })
}

/// One arm for each kind of file.
fn encode_file(
    tree: &Tree,
    numbers: &Numbers,
    inodes: &segments::Inodes,
    id: FileId,
    file: &OpenFile,
) -> Result<FileEntry> {
    let flags = file.flags;
    let fown = owner::encode(file.owner.as_ref());
    let network = namespace_id(&tree.namespaces, NamespaceKind::Net);
    let mut entry = FileEntry { r#type: type_of(&file.kind), id: id.0, ..Default::default() };
    match &file.kind {
        FileKind::Path(path) => return encode_path(id, file, path),
        FileKind::Memfd(memfd) => {
            return Ok(encode_memfd(id, flags, fown, memfd.position, inodes[&memfd.segment]));
        }
        FileKind::Pipe(pipe) => {
            entry.pipe = Some(PipeEntry { id: id.0, pipe_id: pipe.pipe.0, flags, fown });
        }
        FileKind::Fifo(fifo) => {
            let regf_id = Some(numbers.paths[&id].0);
            entry.fifo = Some(FifoEntry { id: id.0, pipe_id: fifo.pipe.0, regf_id });
        }
        FileKind::Eventfd(eventfd) => {
            entry.efd = Some(events::encode_eventfd(id, flags, fown, eventfd));
        }
        FileKind::Epoll(epoll) => entry.epfd = Some(epoll::encode(id, flags, fown, epoll)),
        FileKind::Timerfd(timerfd) => {
            entry.tfd = Some(events::encode_timerfd(id, flags, fown, timerfd));
        }
        FileKind::Signalfd(signalfd) => {
            entry.sgfd = Some(events::encode_signalfd(id, flags, fown, signalfd));
        }
        FileKind::Inotify(inotify) => {
            entry.ify = Some(inotify::encode(id, flags, fown, inotify)?);
        }
        FileKind::Unix(socket) => {
            entry.usk = Some(unix_socket::encode(id, flags, fown, socket, network));
        }
        FileKind::Inet(socket) => {
            entry.isk = Some(inet_socket::encode(id, flags, fown, socket, network)?);
        }
        FileKind::Terminal(terminal) => {
            let regf_id = Some(numbers.paths[&id].0);
            let tty_info_id = terminal.terminal.0;
            entry.tty = Some(TtyFileEntry { id: id.0, tty_info_id, flags, fown, regf_id });
        }
        FileKind::Namespace { kind, namespace } => {
            let (ns_id, ns_cflag) = (*namespace, *kind);
            entry.nsf = Some(NsFileEntry { id: id.0, ns_id, ns_cflag, flags });
        }
        FileKind::Pidfd { inode, target } => {
            let nspid = target.map_or(GONE, |pid| pid.0);
            entry.pidfd = Some(PidfdEntry { id: id.0, ino: *inode, flags, nspid, fown });
        }
    }
    Ok(entry)
}

/// The target of a pidfd whose process is gone.
const GONE: i32 = -1;

fn encode_memfd(id: FileId, flags: u32, fown: FownEntry, pos: u64, inode_id: u32) -> FileEntry {
    FileEntry {
        r#type: fd_type::MEMFD,
        id: id.0,
        memfd: Some(MemfdFileEntry { id: id.0, flags, pos, fown, inode_id }),
        ..Default::default()
    }
}

/// What decoding open files needs to know of the rest of the checkpoint.
pub(super) struct Surroundings<'a> {
    pub remaps: &'a BTreeMap<FileId, Remap>,
    /// The segment of each memfd inode.
    pub inodes: &'a BTreeMap<u64, SegmentId>,
    /// What there is of a TCP connection beside its socket; nothing if it comes back closed.
    pub connection: &'a dyn Fn(SocketId) -> Result<Option<TcpConnection>>,
    /// Says in the user's words who has the file open.
    pub describe: &'a dyn Fn(FileId) -> String,
}

/// Decoded open files.
pub(super) struct Files {
    pub files: BTreeMap<FileId, OpenFile>,
    /// Those whose path is part of another file now.
    pub embedded: BTreeSet<FileId>,
}

pub(super) fn decode(input: Input, around: &Surroundings) -> Result<Files> {
    let entries: Vec<FileEntry> = input.all(FILE)?;
    let mut by_id = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = Place::new(FILE, index + 1);
        match by_id.insert(FileId(entry.id), (place, entry)) {
            Some((_, other)) if other != entry => {
                return Err(place.field("id", format!("{} occurs twice", entry.id)));
            }
            _ => {}
        }
    }
    let mut regs = BTreeMap::new();
    for (id, (place, entry)) in &by_id {
        if let (fd_type::REG, Some(reg)) = (entry.r#type, &entry.reg) {
            let remap = around.remaps.get(id).copied();
            regs.insert(*id, path_file::decode(*place, reg, remap)?);
        }
    }
    let mut decoder = Decoder { around, regs, embedded: BTreeSet::new() };
    let mut files = BTreeMap::new();
    for (id, (place, entry)) in &by_id {
        files.insert(*id, decoder.file(*place, *id, entry)?);
    }
    Ok(Files { files, embedded: decoder.embedded })
}

struct Decoder<'a> {
    around: &'a Surroundings<'a>,
    regs: BTreeMap<FileId, Reg>,
    embedded: BTreeSet<FileId>,
}

impl Decoder<'_> {
    /// One arm for each kind of file.
    fn file(&mut self, place: Place, id: FileId, entry: &FileEntry) -> Result<OpenFile> {
        let unsupported = |what: &str| {
            let object = format!("{what} ({})", (self.around.describe)(id));
            Err(Error::unsupported(object, "this kind of file cannot be restored"))
        };
        let (flags, fown, kind) = match entry.r#type {
            fd_type::REG => {
                let reg = place.need(self.regs.get(&id), "reg")?;
                (reg.flags, reg.fown.clone(), FileKind::Path(reg.file.clone()))
            }
            fd_type::PIPE => {
                let pipe = place.need(entry.pipe.as_ref(), "pipe")?;
                let end = PipeEnd { pipe: PipeId(pipe.pipe_id) };
                (pipe.flags, pipe.fown.clone(), FileKind::Pipe(end))
            }
            fd_type::FIFO => {
                let fifo = place.need(entry.fifo.as_ref(), "fifo")?;
                let (path_id, reg) = self.embed(place, fifo.regf_id)?;
                let kind = Fifo { pipe: PipeId(fifo.pipe_id), path: reg.file.clone(), path_id };
                (reg.flags, reg.fown.clone(), FileKind::Fifo(kind))
            }
            fd_type::TTY => {
                let tty = place.need(entry.tty.as_ref(), "tty")?;
                let (path_id, reg) = self.embed(place, tty.regf_id)?;
                let (terminal, path) = (TtyId(tty.tty_info_id), reg.file.clone());
                let kind = TerminalFile { terminal, path, path_id };
                (tty.flags, tty.fown.clone(), FileKind::Terminal(kind))
            }
            fd_type::EVENTFD => {
                let efd = place.need(entry.efd.as_ref(), "efd")?;
                let kind = FileKind::Eventfd(events::decode_eventfd(efd));
                (efd.flags, efd.fown.clone(), kind)
            }
            fd_type::EVENTPOLL => {
                let epfd = place.need(entry.epfd.as_ref(), "epfd")?;
                let kind = FileKind::Epoll(epoll::decode(place, epfd)?);
                (epfd.flags, epfd.fown.clone(), kind)
            }
            fd_type::TIMERFD => {
                let tfd = place.need(entry.tfd.as_ref(), "tfd")?;
                let kind = FileKind::Timerfd(events::decode_timerfd(place, tfd)?);
                (tfd.flags, tfd.fown.clone(), kind)
            }
            fd_type::SIGNALFD => {
                let sgfd = place.need(entry.sgfd.as_ref(), "sgfd")?;
                let kind = FileKind::Signalfd(events::decode_signalfd(sgfd));
                (sgfd.flags, sgfd.fown.clone(), kind)
            }
            fd_type::INOTIFY => {
                let ify = place.need(entry.ify.as_ref(), "ify")?;
                let kind = FileKind::Inotify(inotify::decode(place, ify)?);
                (ify.flags, ify.fown.clone(), kind)
            }
            fd_type::MEMFD => {
                let memfd = place.need(entry.memfd.as_ref(), "memfd")?;
                let kind = FileKind::Memfd(self.memfd(place, memfd)?);
                (memfd.flags, memfd.fown.clone(), kind)
            }
            fd_type::UNIXSK => {
                let usk = place.need(entry.usk.as_ref(), "usk")?;
                let kind = FileKind::Unix(unix_socket::decode(place, usk)?);
                (usk.flags, usk.fown.clone(), kind)
            }
            fd_type::INETSK => {
                let isk = place.need(entry.isk.as_ref(), "isk")?;
                let kind = FileKind::Inet(inet_socket::decode(place, isk, self.around.connection)?);
                (isk.flags, isk.fown.clone(), kind)
            }
            fd_type::NS => {
                let nsf = place.need(entry.nsf.as_ref(), "nsf")?;
                let kind = FileKind::Namespace { kind: nsf.ns_cflag, namespace: nsf.ns_id };
                (nsf.flags, FownEntry::default(), kind)
            }
            fd_type::PIDFD => {
                let pidfd = place.need(entry.pidfd.as_ref(), "pidfd")?;
                let target = Some(NsPid(pidfd.nspid)).filter(|pid| pid.0 != GONE);
                let kind = FileKind::Pidfd { inode: pidfd.ino, target };
                (pidfd.flags, pidfd.fown.clone(), kind)
            }
            fd_type::PACKETSK => return unsupported("packet socket"),
            fd_type::NETLINKSK => return unsupported("netlink socket"),
            fd_type::FANOTIFY => return unsupported("fanotify group"),
            fd_type::TUNF => return unsupported("TUN device"),
            fd_type::EXT => return unsupported("file of a CRIU plugin"),
            fd_type::BPFMAP => return unsupported("BPF map"),
            other => return Err(place.field("type", format!("{other} is no kind of file"))),
        };
        Ok(OpenFile { flags, owner: owner::decode(place, &fown)?, kind })
    }

    /// The path record that belongs to another file.
    fn embed(&mut self, place: Place, regf_id: Option<u32>) -> Result<(FileId, &Reg)> {
        let id = FileId(place.need(regf_id, "regf_id")?);
        let reg = self.regs.get(&id);
        let reg = reg.ok_or_else(|| place.field("regf_id", format!("there is no path {id}")))?;
        self.embedded.insert(id);
        Ok((id, reg))
    }

    fn memfd(&self, place: Place, memfd: &MemfdFileEntry) -> Result<Memfd> {
        let segment = self.around.inodes.get(&memfd.inode_id.into()).copied();
        let segment = segment.ok_or_else(|| {
            place.field("inode_id", format!("there is no memfd {}", memfd.inode_id))
        })?;
        Ok(Memfd { segment, position: memfd.pos })
    }
}
