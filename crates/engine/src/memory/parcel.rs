//! Open files on their way into blanks.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use stasis_model::FileKind;
use stasis_objects::{Thawing, address_space::MappedFile, descriptor};
use stasis_tracee::{Batch, Blank, Channel, MAX_FDS};

use crate::facade::Error;

/// Files for a blank whose table of descriptors is empty but for the channel.
pub struct Parcel {
    files: Vec<OwnedFd>,
    channel: i32,
}

impl Parcel {
    pub fn new(channel: &Channel) -> Self {
        Parcel { files: Vec::new(), channel: channel.remote_fd() }
    }

    /// Gives the number that the file will have: what is received gets the lowest free ones.
    pub fn add(&mut self, file: OwnedFd) -> i32 {
        let before = i32::try_from(self.files.len()).expect("fewer files than numbers");
        self.files.push(file);
        if before < self.channel { before } else { before + 1 }
    }

    /// Sends all, and adds the calls that receive them.
    pub fn hand_over(
        &self,
        blank: &Blank,
        channel: &Channel,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let all: Vec<BorrowedFd<'_>> = self.files.iter().map(AsFd::as_fd).collect();
        channel.wait_until_taken()?;
        for chunk in all.chunks(MAX_FDS) {
            channel.send(blank.pid(), chunk)?;
            channel.receive(batch);
        }
        Ok(())
    }
}

/// Files mapped by several processes are opened once.
#[derive(Default)]
pub struct MappedFiles {
    open: BTreeMap<MappedFile, OwnedFd>,
}

impl MappedFiles {
    pub fn get(
        &mut self,
        file: MappedFile,
        thawing: &mut Thawing,
    ) -> Result<BorrowedFd<'_>, Error> {
        let open: &OwnedFd = match self.open.entry(file) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => place.insert(open_mapped(file, thawing)?),
        };
        Ok(open.as_fd())
    }
}

fn open_mapped(file: MappedFile, thawing: &mut Thawing) -> Result<OwnedFd, Error> {
    match file {
        MappedFile::Segment(id) => duplicate(thawing.segment(id)?),
        MappedFile::Open(id, mode) => match &thawing.model_file(id).kind {
            FileKind::Memfd(memfd) => duplicate(thawing.segment(memfd.segment)?),
            _ => Ok(descriptor::open_path(id, mode, thawing)?),
        },
    }
}

/// A descriptor of ours for the same open file.
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|errno| Error::Failed(errno.to_string()))
}
