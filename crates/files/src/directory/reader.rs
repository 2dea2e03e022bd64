//! Reading a checkpoint.

use std::{
    borrow::Cow,
    fs::File,
    path::{Path, PathBuf},
};

use stasis_model::{GhostId, SocketId, Tree};

use super::{DumpStats, GhostReader, PageOwner, PageReader, Parents, TcpStreamReader, open, stats};
use crate::{
    Error, Facts, Result,
    convert::{self, Source, tmpfs_file},
};

const INVENTORY: &str = "inventory.img";

/// Reads a checkpoint, be it ours or one of CRIU.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: PathBuf,
    parents: Parents,
}

impl Reader {
    /// Looks whether there is a checkpoint in the directory.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none, [`Error::Io`].
    pub fn open(dir: &Path) -> Result<Self> {
        match open::open(dir, INVENTORY)? {
            Some(_) => Ok(Reader { dir: dir.into(), parents: Parents::Linked }),
            None => Err(Error::Missing {
                file: dir.join(INVENTORY).display().to_string(),
                needed_for: "every checkpoint has one".into(),
            }),
        }
    }

    /// The same, with the checkpoints before found in this way.
    #[must_use]
    pub fn with_parents(self, parents: Parents) -> Self {
        Reader { parents, ..self }
    }

    /// The tree, checked.
    ///
    /// # Errors
    /// As [`convert::decode`].
    pub fn tree(&self) -> Result<Tree> {
        Ok(self.tree_and_facts()?.0)
    }

    /// What the files tell beside the tree.
    ///
    /// # Errors
    /// As [`convert::decode`].
    pub fn facts(&self) -> Result<Facts> {
        Ok(self.tree_and_facts()?.1)
    }

    /// Both at once.
    ///
    /// # Errors
    /// As [`convert::decode`].
    pub fn tree_and_facts(&self) -> Result<(Tree, Facts)> {
        convert::decode(self)
    }

    /// The stored pages of a process or segment, or `None` if there is no list of them.
    ///
    /// # Errors
    /// [`Error::Missing`] if contents are not there, [`Error::Corrupt`], [`Error::Io`];
    /// [`Error::Unsupported`] if pages were left with a server.
    pub fn pages(&self, owner: PageOwner) -> Result<Option<PageReader>> {
        PageReader::open(&self.dir, owner, &self.parents)
    }

    /// The stored parts of a ghost.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Corrupt`], [`Error::Io`]
    pub fn ghost(&self, id: GhostId) -> Result<GhostReader> {
        GhostReader::open(&self.dir, id)
    }

    /// The queues of a TCP connection.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Corrupt`], [`Error::Io`]
    pub fn tcp_stream(&self, socket: SocketId) -> Result<TcpStreamReader> {
        TcpStreamReader::open(&self.dir, socket)
    }

    /// The content of a tmpfs: a gzip-compressed tar.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]
    pub fn tmpfs(&self, device: u32) -> Result<File> {
        let name = tmpfs_file(device);
        open::open(&self.dir, &name)?.ok_or_else(|| Error::Missing {
            file: name,
            needed_for: "it holds the content of a tmpfs".into(),
        })
    }

    /// Statistics, if there are any. Container engines keep them elsewhere.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`]
    pub fn stats(&self) -> Result<Option<DumpStats>> {
        match open::read(&self.dir, stats::FILE)? {
            Some(bytes) => stats::decode(&bytes),
            None => Ok(None),
        }
    }
}

impl Source for Reader {
    fn read(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>> {
        Ok(open::read(&self.dir, name)?.map(Cow::Owned))
    }

    fn head(&self, name: &str, len: usize) -> Result<Option<Cow<'_, [u8]>>> {
        Ok(open::head(&self.dir, name, len)?.map(Cow::Owned))
    }

    fn len(&self, name: &str) -> Result<Option<u64>> {
        let file = open::open(&self.dir, name)?;
        file.map(|file| open::len(&self.dir, name, &file)).transpose()
    }

    fn has(&self, name: &str) -> bool {
        open::open(&self.dir, name).is_ok_and(|file| file.is_some())
    }
}
