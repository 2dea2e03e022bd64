//! Visits to namespaces of a tree, by threads of ours that do nothing else afterwards.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use stasis_model::NamespaceKind;

use crate::facade::Error;

/// Kinds that a single thread can enter without leaving the others of its process in anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Ipc,
    Uts,
}

impl Place {
    fn kinds(self) -> (NamespaceKind, LinkNameSpaceType) {
        match self {
            Place::Ipc => (NamespaceKind::Ipc, LinkNameSpaceType::InterProcessCommunication),
            Place::Uts => (NamespaceKind::Uts, LinkNameSpaceType::HostNameAndNISDomainName),
        }
    }
}

/// Runs a job in a thread that has entered a namespace of `pid` (setns(2)), or right here if that is our own.
///
/// # Errors
/// [`Error::Failed`] if it cannot be entered, else what the job says.
pub fn inside<T: Send>(
    pid: i32,
    place: Place,
    job: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let (kind, link_type) = place.kinds();
    let link_of = |pid: &str| format!("/proc/{pid}/ns/{}", kind.proc_name());
    let path = link_of(&pid.to_string());
    let (theirs, ours) = (fs::read_link(&path), fs::read_link(link_of("thread-self")));
    if theirs.is_ok_and(|theirs| ours.is_ok_and(|ours| ours == theirs)) {
        return job();
    }
    let namespace =
        File::open(&path).map_err(|error| Error::Failed(format!("cannot open {path}: {error}")))?;
    let enter = || {
        move_into_link_name_space(namespace.as_fd(), Some(link_type))
            .map_err(|errno| Error::Failed(format!("cannot enter {path}: {errno}")))
    };
    let went = thread::scope(|scope| scope.spawn(|| enter().and_then(|()| job())).join());
    went.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
