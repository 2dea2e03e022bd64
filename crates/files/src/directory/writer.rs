//! Writing a checkpoint.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs::{self, DirBuilder, File},
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use stasis_model::{
    FileKind, GhostContent, GhostFile, GhostId, InetSocket, PageRun, SocketId, TcpConnection, Tree,
};

use super::{
    DumpStats, GhostWriter, PageOwner, PageReader, PageWriter, Parents, open, parents, pre_dump,
    stats, tcp_stream,
};
use crate::{
    Error, Facts, Result,
    convert::{self, ghost_file, tcp_stream_file, tmpfs_file},
    many,
};

/// Writes a checkpoint into an empty directory. No file that exists is ever touched.
///
/// Streams (pages, ghosts, tmpfs contents, queues of connections) and the tree may be written in any order and at the same
/// time; [`Writer::finish`] tells whether all belongs together. Nothing is flushed to the disk.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    /// What was in the directory before.
    others: HashSet<OsString>,
    /// The files of the tree, which are written whole, and their lengths.
    of_tree: OnceLock<HashMap<OsString, u64>>,
    next_pages_id: AtomicU32,
    previous: Option<Previous>,
}

/// The checkpoint before, in which pages may stay that did not change since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    pub dir: PathBuf,
    /// Those before it.
    pub parents: Parents,
    /// What the link `parent` in the new directory says; without one, whoever reads it must be told
    /// the directories ([`Parents::Given`]).
    pub link: Option<PathBuf>,
}

impl Previous {
    /// The directories before the new one.
    pub fn parents_of_next(&self) -> Parents {
        self.parents.before(&self.dir)
    }
}

impl Writer {
    /// Uses the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn create(dir: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(Error::io("make the directory of", dir))?;
        let others = list(dir)?;
        let next_pages_id = AtomicU32::new(1);
        let of_tree = OnceLock::new();
        Ok(Writer { dir: dir.into(), others, of_tree, next_pages_id, previous: None })
    }

    /// The same after another checkpoint of the tree, which it then needs to be restored.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn create_after(dir: &Path, previous: Previous) -> Result<Self> {
        let writer = Self::create(dir)?;
        if let Some(target) = &previous.link {
            let link = dir.join(parents::LINK);
            symlink(target, &link).map_err(Error::io("make", link))?;
        }
        Ok(Writer { previous: Some(previous), ..writer })
    }

    /// Begins the pages of a process or segment. Every live process and every segment that is not
    /// empty needs them, if only to say that there are none.
    ///
    /// # Errors
    /// [`Error::Io`]; what is wrong with the checkpoint before.
    pub fn pages(&self, owner: PageOwner) -> Result<PageWriter> {
        let pages_id = self.next_pages_id.fetch_add(1, Ordering::Relaxed);
        PageWriter::create(self.dir.clone(), owner, pages_id, self.known(owner)?)
    }

    /// Pages that the checkpoint before has.
    fn known(&self, owner: PageOwner) -> Result<Vec<PageRun>> {
        let Some(previous) = &self.previous else { return Ok(Vec::new()) };
        let pages = PageReader::open(&previous.dir, owner, &previous.parents)?;
        let mut known: Vec<PageRun> = Vec::new();
        for stored in pages.iter().flat_map(PageReader::runs) {
            match known.last_mut() {
                Some(last) if last.end() == stored.run.start => {
                    last.nr_pages += stored.run.nr_pages;
                }
                _ => known.push(stored.run),
            }
        }
        Ok(known)
    }

    /// Begins the content of a ghost that is a regular file. The others have none and are written with
    /// the tree.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn ghost(&self, id: GhostId, ghost: &GhostFile) -> Result<GhostWriter> {
        GhostWriter::create(&self.dir, id, ghost)
    }

    /// The file for the content of a tmpfs: a gzip-compressed tar.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn tmpfs(&self, device: u32) -> Result<File> {
        open::create(&self.dir, &tmpfs_file(device))
    }

    /// Writes a TCP connection with what is in its receive queue and in its send queue.
    ///
    /// # Errors
    /// [`Error::Unwritable`] if the queues are longer or shorter than the connection says,
    /// [`Error::Io`].
    pub fn tcp_stream(
        &self,
        socket: SocketId,
        connection: &TcpConnection,
        (received, outgoing): (&[u8], &[u8]),
    ) -> Result<()> {
        tcp_stream::write(&self.dir, socket, connection, (received, outgoing))
    }

    /// Writes everything that is no stream.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Unwritable`] before anything is written, [`Error::Io`].
    pub fn write_tree(&self, tree: &Tree, facts: &Facts) -> Result<()> {
        let files = convert::encode(tree, facts)?;
        many::map(&files, |file| self.write(file))?;
        for (id, ghost) in &tree.ghosts {
            if !matches!(ghost.content, GhostContent::Regular { .. }) {
                self.ghost(*id, ghost)?;
            }
        }
        let length = |(name, bytes): (&String, &Vec<u8>)| (name.into(), bytes.len() as u64);
        self.of_tree.get_or_init(|| files.iter().map(length).collect());
        Ok(())
    }

    fn write(&self, (name, bytes): (&String, &Vec<u8>)) -> Result<()> {
        open::write(&self.dir, name, bytes)
    }

    /// Writes statistics.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn write_stats(&self, statistics: &DumpStats) -> Result<()> {
        open::write(&self.dir, stats::FILE, &stats::encode(statistics))
    }

    /// Checks that all streams of the tree are there.
    ///
    /// # Errors
    /// [`Error::Missing`] names the first one that is not there.
    pub fn finish(&self, tree: &Tree) -> Result<()> {
        let is_missing = |name: &String| !self.dir.join(name).exists();
        let mut needed = streams_of(tree);
        needed.sort();
        match needed.into_iter().find(is_missing) {
            Some(file) => {
                let needed_for = "the tree is not complete without it".into();
                Err(Error::Missing { file, needed_for })
            }
            None => Ok(()),
        }
    }

    /// Writes what a round of memory alone has beside its pages: its inventory, and which round it was.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn write_round(&self, facts: &Facts) -> Result<()> {
        open::write(&self.dir, pre_dump::INVENTORY, &pre_dump::inventory(facts))
    }

    /// Takes away what was written.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn abandon(self) -> Result<()> {
        for file in self.files()?.into_iter().map(|name| self.dir.join(name)) {
            fs::remove_file(&file).map_err(Error::io("remove", file))?;
        }
        Ok(())
    }

    /// Length of all files that were written.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn bytes_written(&self) -> Result<u64> {
        let of_tree = self.of_tree.get();
        self.files()?.into_iter().try_fold(0, |sum, name| {
            if let Some(length) = of_tree.and_then(|lengths| lengths.get(&name)) {
                return Ok(sum + length);
            }
            let file = self.dir.join(name);
            let metadata = fs::symlink_metadata(&file).map_err(Error::io("look at", file))?;
            Ok(sum + metadata.len())
        })
    }

    /// Names of the files that were written.
    fn files(&self) -> Result<HashSet<OsString>> {
        let mut files = list(&self.dir)?;
        files.retain(|name| !self.others.contains(name));
        Ok(files)
    }
}

fn list(dir: &Path) -> Result<HashSet<OsString>> {
    let entries = fs::read_dir(dir).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()
    });
    entries.map_err(Error::io("list", dir))
}

/// Names of the files beside the tree's own.
fn streams_of(tree: &Tree) -> Vec<String> {
    let live = tree.processes.iter().filter(|process| process.live().is_some());
    let processes = live.map(|process| PageOwner::Process(process.pid).pagemap_file());
    let segments = tree.segment_sizes().filter(|(_, size)| *size > 0);
    let segments = segments.map(|(id, _)| PageOwner::Segment(id).pagemap_file());
    let ghosts = tree.ghosts.keys().map(|id| ghost_file(*id));
    let tmpfs = tree.namespaces.mounts.iter().filter_map(|mount| mount.tmpfs);
    let tmpfs = tmpfs.map(|tmpfs| tmpfs_file(tmpfs.device));
    let connections = tree.files.values().filter_map(|file| match &file.kind {
        FileKind::Inet(InetSocket { socket, connection: Some(_), .. }) => Some(*socket),
        _ => None,
    });
    let connections = connections.map(tcp_stream_file);
    processes.chain(segments).chain(ghosts).chain(tmpfs).chain(connections).collect()
}
