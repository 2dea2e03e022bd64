//! System V objects (sysvipc(7)): shared memory, semaphores, message queues.
//!
//! They belong to an IPC namespace, not to a process. Their functions work on the namespace of the
//! calling thread; `engine` sends one there. What of them the kernel tells nobody is lost: times and
//! pids of the last operations, and what semaphores owe to processes that end (`SEM_UNDO`).

use std::{fs, path::Path};

use rustix::{
    fs::{Gid, Uid},
    thread::{set_thread_res_gid, set_thread_res_uid},
};
use stasis_model::{IpcObject, Loss, Obstacle, Subject, SystemV};
use stasis_proctext::sysvipc;
use stasis_sys::{
    Errno, kcmp,
    system_v::{Kind, Owner, set_owner},
};
use stasis_tracee::ProcDir;

use crate::error::{Error, Result};

pub mod attachment;
mod memory;
mod queue;
mod semaphores;

pub use memory::{Contents, Identity};

/// What a namespace has.
#[derive(Debug, Default)]
pub struct Frozen {
    pub objects: SystemV,
    pub contents: Vec<Contents>,
    pub obstacles: Vec<Obstacle>,
}

/// Reads all objects. Memory is attached for a moment, so that its contents can be opened.
///
/// # Errors
/// [`Error::Kernel`] naming the object, also if one goes away meanwhile: whoever uses the namespace
/// must stand still.
pub fn freeze() -> Result<Frozen> {
    let mut frozen = Frozen {
        objects: SystemV {
            semaphores: semaphores::freeze()?,
            queues: queue::freeze()?,
            ..SystemV::default()
        },
        ..Frozen::default()
    };
    memory::freeze(&mut frozen)?;
    Ok(frozen)
}

/// Makes all objects under the identifiers they had, in a namespace that has none of those.
///
/// Limits of the namespace must leave room. Memory is still empty: its contents belong into the
/// files that are given.
///
/// # Errors
/// [`Error::Kernel`] naming the object, [`Error::Changed`] if its identifier is taken.
pub fn thaw(objects: &SystemV) -> Result<(Vec<Contents>, Vec<Loss>)> {
    let mut losses = Vec::new();
    let memory = objects.memory.values().map(|memory| memory::thaw(memory, &mut losses));
    let contents = memory.collect::<Result<_>>()?;
    objects.semaphores.iter().try_for_each(semaphores::thaw)?;
    objects.queues.iter().try_for_each(queue::thaw)?;
    Ok((contents, losses))
}

/// Marks memory for removal again, when all who had it attached have it.
pub fn settle(objects: &SystemV) -> Result<()> {
    objects.memory.values().try_for_each(memory::settle)
}

/// Tells which processes may have asked semaphores to be put back when they end (semop(2),
/// `SEM_UNDO`). Only the kernel knows by how much.
///
/// The calling thread must be one that came here by setns(2), which leaves it without such debts:
/// whoever has the same list as it has none either.
pub fn undo_losses(tree: &[ProcDir]) -> Result<Vec<Loss>> {
    if sysvipc_table("sem", sysvipc::semaphores)?.is_empty() {
        return Ok(Vec::new());
    }
    let own = rustix::thread::gettid().as_raw_pid();
    let debts = tree.iter().filter(|proc| {
        let threads = proc.threads().unwrap_or_default();
        threads.into_iter().any(|tid| has_undo_list(own, tid))
    });
    Ok(debts.map(undo_loss).collect())
}

/// A task that has ended has none.
fn has_undo_list(own: i32, tid: i32) -> bool {
    kcmp::compare((own, tid), kcmp::Kind::SystemVSemaphoreUndo, (0, 0))
        .is_ok_and(std::cmp::Ordering::is_ne)
}

fn undo_loss(proc: &ProcDir) -> Loss {
    let name = proc.stat().map(|stat| String::from_utf8_lossy(&stat.name).into_owned());
    let subject = Subject::Task { pid: proc.pid(), name: name.unwrap_or_default() };
    let reason = "what System V semaphores are to get back when it ends (SEM_UNDO), if it has \
                  asked for that";
    Loss { subject, reason: reason.into() }
}

/// Parses a file of `/proc/sysvipc`, which tells of the calling thread's namespace.
fn sysvipc_table<T>(
    name: &str,
    parse: fn(&[u8]) -> stasis_proctext::Result<Vec<T>>,
) -> Result<Vec<T>> {
    let path = Path::new("/proc/sysvipc").join(name);
    let text = fs::read(&path).map_err(Error::at(path.display().to_string(), "read"))?;
    parse(&text).map_err(|malformed| Error::Unsupported {
        object: path.display().to_string(),
        reason: malformed.to_string(),
    })
}

fn describe(object: &sysvipc::Object) -> IpcObject {
    IpcObject {
        id: object.id,
        key: object.key,
        uid: object.uid,
        gid: object.gid,
        creator_uid: object.creator_uid,
        creator_gid: object.creator_gid,
        mode: object.mode,
    }
}

fn name_of(kind: Kind, id: i32) -> String {
    match kind {
        Kind::Memory => format!("System V memory {id}"),
        Kind::Semaphores => format!("System V semaphores {id}"),
        Kind::Queue => format!("System V message queue {id}"),
    }
}

/// Makes an object under its identifier and for its creator; the owner is given at the end.
fn make(
    kind: Kind,
    object: &IpcObject,
    create: impl FnOnce() -> stasis_sys::Result<i32>,
) -> Result<()> {
    let what = name_of(kind, object.id);
    wish_for(kind, object.id).map_err(Error::at(&what, "next_id"))?;
    let call = match kind {
        Kind::Memory => "shmget",
        Kind::Semaphores => "semget",
        Kind::Queue => "msgget",
    };
    let made = as_creator(object, create).map_err(Error::at(&what, call))?;
    if made == object.id {
        return Ok(());
    }
    let _ = stasis_sys::system_v::remove(kind, made);
    let reason = format!("its number is taken in this namespace, the kernel gave it {made}");
    Err(Error::Changed { object: what, reason })
}

/// The identifier of the next object of this kind (`/proc/sys/kernel/*_next_id`).
fn wish_for(kind: Kind, id: i32) -> std::io::Result<()> {
    let name = match kind {
        Kind::Memory => "shm",
        Kind::Semaphores => "sem",
        Kind::Queue => "msg",
    };
    fs::write(format!("/proc/sys/kernel/{name}_next_id"), id.to_string())
}

/// Creates with the effective ids of the creator, which are this thread's own business.
fn as_creator(
    object: &IpcObject,
    create: impl FnOnce() -> stasis_sys::Result<i32>,
) -> stasis_sys::Result<i32> {
    let root = (Uid::ROOT, Gid::ROOT);
    become_effective((Uid::from_raw(object.creator_uid), Gid::from_raw(object.creator_gid)))?;
    let created = create();
    become_effective(root)?;
    created
}

/// The group first on the way there and last on the way back: only root may change it.
fn become_effective((uid, gid): (Uid, Gid)) -> stasis_sys::Result<()> {
    let errno = |errno: rustix::io::Errno| Errno(errno.raw_os_error());
    let set_uid = || set_thread_res_uid(None, uid, None).map_err(errno);
    let set_gid = || set_thread_res_gid(None, gid, None).map_err(errno);
    if uid.is_root() {
        set_uid().and_then(|()| set_gid())
    } else {
        set_gid().and_then(|()| set_uid())
    }
}

fn give_to_owner(kind: Kind, object: &IpcObject) -> Result<()> {
    let owner = Owner { uid: object.uid, gid: object.gid, mode: object.mode };
    set_owner(kind, object.id, owner).map_err(Error::at(name_of(kind, object.id), "IPC_SET"))
}
