//! Shared memory (shmget(2)). A segment is a file of the kernel's internal tmpfs; attached to our own
//! memory it shows in `/proc/self/map_files`, where it can be opened and then left again.

use std::{fs, os::fd::OwnedFd};

use rustix::fs::{Mode, OFlags, Stat};
use stasis_model::{Loss, Obstacle, SegmentId, Subject, SystemVMemory};
use stasis_proctext::sysvipc;
use stasis_sys::system_v::{self, Kind};

use super::{Frozen, describe, give_to_owner, make, name_of, sysvipc_table};
use crate::{
    error::{Error, Result},
    segment,
};

/// The contents of a segment as a file.
#[derive(Debug)]
pub struct Contents {
    pub id: SegmentId,
    pub size: u64,
    pub file: OwnedFd,
}

/// What tells a segment from those of other namespaces, which may have the same number: that is the
/// number of its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, u64),
}

impl Identity {
    pub fn of(stat: &Stat) -> Identity {
        let changed = (stat.st_ctime, stat.st_ctime_nsec);
        Identity { device: stat.st_dev, inode: stat.st_ino, changed }
    }
}

pub(super) fn freeze(frozen: &mut Frozen) -> Result<()> {
    let removes_at_a_touch = removes_what_nobody_has()?;
    for seen in sysvipc_table("shm", sysvipc::memory)? {
        if seen.nr_attached == 0 && removes_at_a_touch {
            let reason = "nobody has it attached, and the kernel would remove it when we have \
                          looked at it (kernel.shm_rmid_forced)";
            frozen.obstacles.push(obstacle(&seen, reason));
            continue;
        }
        let memory = SystemVMemory { object: describe(&seen.object), size: seen.size };
        match open(&memory)? {
            None => frozen.obstacles.push(obstacle(&seen, "it is made of huge pages")),
            Some(contents) => {
                frozen.objects.memory.insert(contents.id, memory);
                frozen.contents.push(contents);
            }
        }
    }
    Ok(())
}

fn removes_what_nobody_has() -> Result<bool> {
    let path = "/proc/sys/kernel/shm_rmid_forced";
    let text = fs::read(path).map_err(Error::at(path, "read"))?;
    Ok(text.trim_ascii() != b"0")
}

fn obstacle(seen: &sysvipc::Memory, reason: &str) -> Obstacle {
    let name = name_of(Kind::Memory, seen.object.id);
    Obstacle::lasting(Subject::Named(name), reason, Some("remove it with ipcrm(1)"))
}

/// Opens the contents; `None` if they are huge pages, which cannot be written to by a file.
fn open(memory: &SystemVMemory) -> Result<Option<Contents>> {
    let id = memory.object.id;
    let what = name_of(Kind::Memory, id);
    let attached = system_v::attach(id).map_err(Error::at(&what, "shmat"))?;
    let start = attached.address() as u64;
    let path = format!("/proc/self/map_files/{start:x}-{:x}", start + memory.len_bytes());
    let opened = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let file = match opened {
        Ok(file) => file,
        // Of huge pages there are only whole ones: its end is another one.
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::at(what, "open(map_files)")(errno)),
    };
    let id = SegmentId(u64::try_from(id).unwrap_or_default());
    Ok((!segment::is_hugetlb(&file)).then_some(Contents { id, size: memory.size, file }))
}

pub(super) fn thaw(memory: &SystemVMemory, losses: &mut Vec<Loss>) -> Result<Contents> {
    let object = &memory.object;
    make(Kind::Memory, object, || system_v::new_memory(object.key, memory.size, object.mode))?;
    give_to_owner(Kind::Memory, object)?;
    let what = name_of(Kind::Memory, object.id);
    if object.mode & SystemVMemory::LOCKED != 0
        && let Err(errno) = system_v::lock_memory(object.id)
    {
        let reason = format!("it was locked into memory (SHM_LOCK) and is not now: {errno}");
        losses.push(Loss { subject: Subject::Named(what.clone()), reason });
    }
    let reason = "it has got huge pages".into();
    open(memory)?.ok_or(Error::Unsupported { object: what, reason })
}

pub(super) fn settle(memory: &SystemVMemory) -> Result<()> {
    if memory.object.mode & SystemVMemory::REMOVED == 0 {
        return Ok(());
    }
    let id = memory.object.id;
    system_v::remove(Kind::Memory, id).map_err(Error::at(name_of(Kind::Memory, id), "IPC_RMID"))
}
