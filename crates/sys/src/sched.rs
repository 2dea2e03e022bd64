//! Scheduling of other tasks.

use crate::errno::{Errno, Result, cvt};

/// Policy with `SCHED_RESET_ON_FORK`, nice value and real-time priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub policy: u32,
    pub nice: i32,
    pub priority: u32,
}

const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;
const SCHED_FLAG_RESET_ON_FORK: u64 = 1;

#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// sched_getattr(2).
pub fn attributes(tid: i32) -> Result<Attributes> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>();
    // SAFETY: the kernel writes at most `size` bytes of the structure.
    cvt(unsafe { libc::syscall(libc::SYS_sched_getattr, tid, &raw mut attr, size, 0) })?;
    let reset = if attr.flags & SCHED_FLAG_RESET_ON_FORK != 0 { SCHED_RESET_ON_FORK } else { 0 };
    Ok(Attributes { policy: attr.policy | reset, nice: attr.nice, priority: attr.priority })
}

/// sched_setattr(2).
pub fn set_attributes(tid: i32, attributes: Attributes) -> Result<()> {
    let reset = attributes.policy & SCHED_RESET_ON_FORK != 0;
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: attributes.policy & !SCHED_RESET_ON_FORK,
        flags: if reset { SCHED_FLAG_RESET_ON_FORK } else { 0 },
        nice: attributes.nice,
        priority: attributes.priority,
        ..SchedAttr::default()
    };
    // SAFETY: the kernel reads the structure, whose size it is told inside.
    cvt(unsafe { libc::syscall(libc::SYS_sched_setattr, tid, &raw const attr, 0) }).map(drop)
}

const IOPRIO_WHO_PROCESS: i32 = 1;

/// ioprio_get(2) of one thread; 0 if none was set.
pub fn io_priority(tid: i32) -> Result<u32> {
    // SAFETY: takes numbers only.
    let priority = cvt(unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid) })?;
    u32::try_from(priority).map_err(|_| Errno::INVAL)
}

/// ioprio_set(2) of one thread.
pub fn set_io_priority(tid: i32, priority: u32) -> Result<()> {
    // SAFETY: takes numbers only.
    cvt(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, priority) }).map(drop)
}

/// get_robust_list(2): address and length of the list's head.
pub fn robust_list(tid: i32) -> Result<(u64, u32)> {
    let mut head = 0u64;
    let mut len = 0u64;
    // SAFETY: the kernel writes one pointer and one length.
    cvt(unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut len) })?;
    Ok((head, u32::try_from(len).map_err(|_| Errno::INVAL)?))
}
