//! What a checkpoint holds, without restoring it.

use std::{
    collections::BTreeMap,
    io::BufReader,
    path::{Path, PathBuf},
};

use stasis_enclosure::tar::{self, Described};
use stasis_engine::MemoryDifference;
use stasis_model::NsPid;

use super::{
    Stored,
    layout::{DEVSHM, IMAGES, ROOTFS_DIFF, tmpfs_file},
    manifest, volumes,
};
use crate::{changes::ChangeKind, config::Mount, error::Result};

const READ_BYTES: usize = 1 << 20;

/// What the files of a checkpoint take, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Tasks and their memory.
    pub memory_bytes: u64,
    pub rootfs_bytes: u64,
    pub volumes_bytes: u64,
    /// Contents of file systems in memory.
    pub tmpfs_bytes: u64,
    pub other_bytes: u64,
}

impl Stored {
    /// The processes.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] if they cannot be decoded.
    pub fn tree(&self) -> Result<stasis_model::Tree> {
        Ok(stasis_engine::read(&self.dir.join(IMAGES))?)
    }

    /// Compares all files with their sums, and decodes all that can be decoded.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`], [`crate::Error::Engine`] or [`crate::Error::Enclosure`] naming the
    /// first thing that is wrong.
    pub fn verify(&self) -> Result<()> {
        let _held = self.hold()?;
        manifest::verify(&self.dir)?;
        stasis_engine::verify(&self.dir.join(IMAGES), &self.parents())?;
        for (file, _) in self.archives() {
            self.described(&file)?;
        }
        Ok(())
    }

    /// What differs in the files of two checkpoints, by their paths in the container. Files below the
    /// changes of both are not looked at.
    ///
    /// # Errors
    /// As [`Stored::verify`].
    pub fn compare_files(&self, other: &Stored) -> Result<BTreeMap<PathBuf, ChangeKind>> {
        let (ours, theirs) = (self.files()?, other.files()?);
        let is_hidden = |file: Option<&Described>| matches!(file, None | Some(Described::Whiteout));
        let mut found = BTreeMap::new();
        for path in ours.keys().chain(theirs.keys()) {
            let (before, now) = (ours.get(path), theirs.get(path));
            let kind = match (is_hidden(before), is_hidden(now)) {
                _ if before == now => continue,
                (false, false) => ChangeKind::Changed,
                (true, false) => ChangeKind::Added,
                (false, true) => ChangeKind::Deleted,
                (true, true) if now.is_none() => ChangeKind::Added,
                (true, true) => ChangeKind::Deleted,
            };
            found.insert(path.clone(), kind);
        }
        Ok(found)
    }

    /// What differs in the memory of processes that both have.
    ///
    /// # Errors
    /// As [`Stored::tree`].
    pub fn compare_memory(&self, other: &Stored) -> Result<BTreeMap<NsPid, MemoryDifference>> {
        let (ours, theirs) = (self.dir.join(IMAGES), other.dir.join(IMAGES));
        Ok(stasis_engine::compare_memory((&ours, &self.parents()), (&theirs, &other.parents()))?)
    }

    fn files(&self) -> Result<BTreeMap<PathBuf, Described>> {
        let mut all = BTreeMap::new();
        for (file, target) in self.archives() {
            let members = self.described(&file)?;
            all.extend(members.into_iter().map(|(path, what)| (target.join(path), what)));
        }
        Ok(all)
    }

    fn described(&self, file: &Path) -> Result<BTreeMap<PathBuf, Described>> {
        let input = manifest::open(&self.dir.join(file))?;
        let mut input = BufReader::with_capacity(READ_BYTES, input);
        Ok(tar::describe(&mut input)?)
    }

    /// Archives of files, with where they belong in the container.
    fn archives(&self) -> Vec<(PathBuf, PathBuf)> {
        let checkpoint = &self.checkpoint;
        let mut archives = vec![(PathBuf::from(ROOTFS_DIFF), PathBuf::from("/"))];
        for (index, target) in checkpoint.tmpfs.iter().enumerate() {
            archives.push((tmpfs_file(index, target).into(), target.clone()));
        }
        for name in &checkpoint.volumes {
            let is_its = |mount: &&Mount| mount.is_of_volume(name);
            if let Some(mount) = checkpoint.container.mounts.iter().find(is_its) {
                archives.push((volumes::file(name), mount.target.clone()));
            }
        }
        archives.retain(|(file, _)| self.dir.join(file).exists());
        archives
    }

    /// What it takes on disk.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] if the list of its files cannot be read.
    pub fn sizes(&self) -> Result<Sizes> {
        let mut sizes = Sizes::default();
        for (path, sum) in manifest::read(&self.dir)? {
            *sizes.of(&path) += sum.len_bytes;
        }
        Ok(sizes)
    }
}

impl Sizes {
    fn of(&mut self, path: &Path) -> &mut u64 {
        let name = path.to_string_lossy();
        if path.starts_with(IMAGES) {
            &mut self.memory_bytes
        } else if path == Path::new(ROOTFS_DIFF) {
            &mut self.rootfs_bytes
        } else if path.starts_with(volumes::DIR) {
            &mut self.volumes_bytes
        } else if name == DEVSHM || name.starts_with("tmpfs-") {
            &mut self.tmpfs_bytes
        } else {
            &mut self.other_bytes
        }
    }
}
