//! The IPC namespace of a tree (ipc_namespaces(7)): what it has, and making it have that again.
//!
//! System V objects and sysctls are those of the calling thread's namespace, so a thread of ours goes
//! there.

use std::os::fd::AsFd;

use stasis_files::IpcSysctls;
use stasis_model::{Loss, NamespaceKind, Obstacle, Tree};
use stasis_objects::{
    posix_queue, segment,
    system_v::{self, Contents, Frozen},
    thawing,
};
use stasis_tracee::ProcDir;

use crate::{
    facade::Error,
    ipc_sysctls,
    visit::{self, Place},
};

/// Tells what a checkpoint of the tree, whose root comes first, cannot keep or would leave out.
///
/// # Errors
/// [`Error::Failed`] if the namespace cannot be looked at.
pub fn survey(
    tree: &[ProcDir],
    own: &[NamespaceKind],
) -> Result<(Vec<Obstacle>, Vec<Loss>), Error> {
    visit::inside(tree[0].pid(), Place::Ipc, || {
        let owns = own.contains(&NamespaceKind::Ipc);
        let obstacles = if owns { posix_queue::obstacles()? } else { Vec::new() };
        Ok((obstacles, system_v::undo_losses(tree)?))
    })
}

/// Reads all objects of the namespace of `pid`, whose users stand still.
///
/// # Errors
/// As [`survey`].
pub fn freeze(pid: i32) -> Result<Frozen, Error> {
    visit::inside(pid, Place::Ipc, || {
        let mut frozen = system_v::freeze()?;
        frozen.obstacles.extend(posix_queue::obstacles()?);
        Ok(frozen)
    })
}

/// Reads the sysctls of the namespace of `pid`.
///
/// # Errors
/// [`Error::Failed`] if the namespace cannot be entered or a value is missing.
pub fn read_sysctls(pid: i32) -> Result<IpcSysctls, Error> {
    visit::inside(pid, Place::Ipc, ipc_sysctls::read)
}

/// Makes all System V objects in the namespace of `pid`, with their contents.
///
/// The limits are wide until [`settle`]: some objects are larger than what may be made now.
///
/// # Errors
/// [`Error::Failed`] naming the object.
pub fn thaw(pid: i32, tree: &Tree, contents: &dyn thawing::Contents) -> Result<Vec<Loss>, Error> {
    let objects = &tree.namespaces.system_v;
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    let (files, losses) = visit::inside(pid, Place::Ipc, || {
        ipc_sysctls::write(&ipc_sysctls::WIDE)?;
        Ok(system_v::thaw(objects)?)
    })?;
    for Contents { id, size, file } in files {
        segment::fill(id, size, file.as_fd(), contents)
            .map_err(|error| Error::Failed(format!("System V memory {id}: {error}")))?;
    }
    Ok(losses)
}

/// Sets the sysctls, and marks for removal what was, when everybody has attached what they had.
///
/// # Errors
/// As [`thaw`].
pub fn settle(pid: i32, tree: &Tree, sysctls: Option<&IpcSysctls>) -> Result<(), Error> {
    let Some(sysctls) = sysctls else { return Ok(()) };
    visit::inside(pid, Place::Ipc, || {
        system_v::settle(&tree.namespaces.system_v)?;
        ipc_sysctls::write(sysctls)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_sysctls_are_readable() {
        let own = super::read_sysctls(std::process::id().cast_signed());
        let own = own.expect("we may look at ourselves");
        assert!(own.msgmax > 0 && own.queues_max > 0);
    }
}
