//! What is at hand while a tree is thawed: open files that several tasks share, and contents.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use stasis_model::{
    FileId, GhostFile, GhostId, Loss, OpenFile, PipeId, SegmentId, SocketId, Subject, Tree,
};

use crate::{
    content::{PageSource, StoredQueues},
    error::{Error, Result},
    tcp_connection::{Keeping, Unsettled},
};

/// Where contents come from; filled in by the engine.
pub trait Contents {
    /// Writes the data of a ghost into a file that already has its size.
    fn fill_ghost(&self, id: GhostId, file: BorrowedFd<'_>) -> io::Result<()>;
    /// The pages of a shared segment.
    fn segment(&self, id: SegmentId) -> io::Result<Option<Box<dyn PageSource>>>;
    /// The queues of a TCP connection.
    fn tcp_queues(&self, id: SocketId) -> io::Result<StoredQueues>;
}

/// The state of a thaw.
pub struct Thawing<'a> {
    tree: &'a Tree,
    contents: &'a dyn Contents,
    /// Root directory of the tree's mount namespace.
    root: OwnedFd,
    /// External open files by what `/proc/PID/fd` showed.
    inherited: HashMap<String, OwnedFd>,
    files: HashMap<FileId, OwnedFd>,
    pipes: HashMap<PipeId, (OwnedFd, OwnedFd)>,
    ghosts: HashMap<GhostId, OwnedFd>,
    segments: HashMap<SegmentId, OwnedFd>,
    links: BTreeSet<PathBuf>,
    keeping: Keeping,
    /// The tree's network namespace, if it has connections.
    network: Option<OwnedFd>,
    pub(crate) unsettled: Vec<Unsettled>,
    pub losses: Vec<Loss>,
}

impl<'a> Thawing<'a> {
    pub fn new(
        tree: &'a Tree,
        contents: &'a dyn Contents,
        root: OwnedFd,
        inherited: HashMap<String, OwnedFd>,
    ) -> Self {
        Thawing {
            tree,
            contents,
            root,
            inherited,
            files: HashMap::new(),
            pipes: HashMap::new(),
            ghosts: HashMap::new(),
            segments: HashMap::new(),
            links: BTreeSet::new(),
            keeping: Keeping::Nothing,
            network: None,
            unsettled: Vec::new(),
            losses: Vec::new(),
        }
    }

    /// Says which connections are kept, and where they are made.
    pub fn keep_connections(&mut self, keeping: Keeping, network: OwnedFd) {
        self.keeping = keeping;
        self.network = Some(network);
    }

    pub(crate) fn keeping(&self) -> Keeping {
        self.keeping
    }

    /// The network namespace in which connections are made; without it, nobody asked for any.
    pub(crate) fn network(&self) -> Result<BorrowedFd<'_>> {
        self.network.as_ref().map(AsFd::as_fd).ok_or_else(|| Error::Unsupported {
            object: "network namespace".into(),
            reason: "no connections were to be kept".into(),
        })
    }

    pub fn tree(&self) -> &'a Tree {
        self.tree
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub fn loss(&mut self, subject: Subject, reason: impl Into<String>) {
        self.losses.push(Loss { subject, reason: reason.into() });
    }

    /// The external file that the caller handed over under this name.
    pub fn inherited(&self, key: &str) -> Option<BorrowedFd<'_>> {
        self.inherited.get(key).map(AsFd::as_fd)
    }

    pub fn contents(&self) -> &'a dyn Contents {
        self.contents
    }

    pub fn model_file(&self, id: FileId) -> &'a OpenFile {
        self.tree.files.get(&id).expect("file ids were checked by Tree::validate")
    }

    /// A file that was thawed before.
    pub fn file(&self, id: FileId) -> Option<BorrowedFd<'_>> {
        self.files.get(&id).map(AsFd::as_fd)
    }

    pub fn keep_file(&mut self, id: FileId, file: OwnedFd) {
        self.files.insert(id, file);
    }

    pub(crate) fn ghost(&self, id: GhostId) -> Option<&'a GhostFile> {
        self.tree.ghosts.get(&id)
    }

    pub(crate) fn fill_ghost(&self, id: GhostId, file: BorrowedFd<'_>) -> io::Result<()> {
        self.contents.fill_ghost(id, file)
    }

    pub(crate) fn take_ghost_file(&mut self, id: GhostId) -> Option<OwnedFd> {
        self.ghosts.remove(&id)
    }

    pub(crate) fn keep_ghost_file(&mut self, id: GhostId, file: OwnedFd) {
        self.ghosts.insert(id, file);
    }

    pub(crate) fn take_pipe(&mut self, id: PipeId) -> Option<(OwnedFd, OwnedFd)> {
        self.pipes.remove(&id)
    }

    pub(crate) fn keep_pipe(&mut self, id: PipeId, ends: (OwnedFd, OwnedFd)) {
        self.pipes.insert(id, ends);
    }

    /// The memory file of a segment, made when it is first asked for.
    pub fn segment(&mut self, id: SegmentId) -> Result<BorrowedFd<'_>> {
        if !self.segments.contains_key(&id) {
            let made = crate::segment::thaw(id, self)?;
            self.segments.insert(id, made);
        }
        Ok(self.segments[&id].as_fd())
    }

    /// All memory files, once the tree has them.
    pub fn segments(&self) -> impl Iterator<Item = (SegmentId, BorrowedFd<'_>)> {
        self.segments.iter().map(|(id, file)| (*id, file.as_fd()))
    }

    /// A link that was made for the checkpoint only.
    pub(crate) fn note_link(&mut self, path: &Path) {
        self.links.insert(path.to_owned());
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Path> {
        self.links.iter().map(PathBuf::as_path)
    }

    /// Our own copy of a file's descriptor.
    pub(crate) fn duplicate(file: BorrowedFd<'_>, what: &str) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(file, 0).map_err(Error::at(what, "dup"))
    }
}
