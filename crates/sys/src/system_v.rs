//! System V objects: shmget(2), semget(2), msgget(2) and what is done with their identifiers.
//!
//! All of it happens in the IPC namespace of the calling thread.

use std::ptr;

use crate::errno::{Errno, Result, cvt};

/// A kind of object; each has identifiers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Semaphores,
    Queue,
}

impl Kind {
    fn control_call(self) -> libc::c_long {
        match self {
            Kind::Memory => libc::SYS_shmctl,
            Kind::Semaphores => libc::SYS_semctl,
            Kind::Queue => libc::SYS_msgctl,
        }
    }

    /// Calls the kind's `ctl` with the address of data, or a number.
    ///
    /// # Safety
    /// The data must be what the command reads or writes.
    unsafe fn control(
        self,
        id: i32,
        command: i32,
        data: *mut libc::c_void,
    ) -> Result<libc::c_long> {
        let call = self.control_call();
        let result = match self {
            // SAFETY: as promised by our caller; the third argument is the semaphore's number, which
            // the commands used here ignore.
            Kind::Semaphores => unsafe { libc::syscall(call, id, 0, command, data) },
            // SAFETY: as promised by our caller.
            Kind::Memory | Kind::Queue => unsafe { libc::syscall(call, id, command, data) },
        };
        cvt(result)
    }
}

/// Owner and permissions of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    /// The lower nine bits count.
    pub mode: u32,
}

/// `struct ipc64_perm`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Permissions {
    key: i32,
    uid: u32,
    gid: u32,
    creator_uid: u32,
    creator_gid: u32,
    mode: u32,
    sequence: u16,
    unused: [u16; 3],
    reserved: [u64; 2],
}

/// `struct shmid64_ds`, `struct semid64_ds` and `struct msqid64_ds`, of which this is the longest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Status {
    permissions: Permissions,
    rest: [u64; 9],
}

/// Place of `msg_qbytes` in the rest.
const QUEUE_BYTES: usize = 5;

const IPC_CREAT_EXCL: i32 = 0o3000;
const IPC_RMID: i32 = 0;
const IPC_SET: i32 = 1;
const IPC_STAT: i32 = 2;

fn status(kind: Kind, id: i32) -> Result<Status> {
    let mut status = Status::default();
    // SAFETY: the kernel writes at most one of the structures that `Status` is as long as.
    unsafe { kind.control(id, IPC_STAT, (&raw mut status).cast()) }?;
    Ok(status)
}

fn set_status(kind: Kind, id: i32, mut status: Status) -> Result<()> {
    // SAFETY: the kernel reads at most one of the structures that `Status` is as long as.
    unsafe { kind.control(id, IPC_SET, (&raw mut status).cast()) }.map(drop)
}

/// Gives an object another owner, group and mode (`IPC_SET`).
pub fn set_owner(kind: Kind, id: i32, owner: Owner) -> Result<()> {
    let mut now = status(kind, id)?;
    let permissions = &mut now.permissions;
    (permissions.uid, permissions.gid, permissions.mode) = (owner.uid, owner.gid, owner.mode);
    set_status(kind, id, now)
}

/// Removes an object (`IPC_RMID`); memory stays until nobody has it attached.
pub fn remove(kind: Kind, id: i32) -> Result<()> {
    // SAFETY: the command takes no data.
    unsafe { kind.control(id, IPC_RMID, ptr::null_mut()) }.map(drop)
}

/// shmget(2): a new segment with nobody attached.
///
/// # Errors
/// `EEXIST` if the key is in use, `EINVAL` or `ENOSPC` beyond the namespace's limits.
pub fn new_memory(key: i32, size: u64, mode: u32) -> Result<i32> {
    let flags = IPC_CREAT_EXCL | (mode & 0o777).cast_signed();
    // SAFETY: takes numbers only.
    id_of(unsafe { libc::syscall(libc::SYS_shmget, key, size, flags) })
}

/// Locks a segment's pages into memory (`SHM_LOCK`).
pub fn lock_memory(id: i32) -> Result<()> {
    const SHM_LOCK: i32 = 11;
    // SAFETY: the command takes no data.
    unsafe { Kind::Memory.control(id, SHM_LOCK, ptr::null_mut()) }.map(drop)
}

/// A segment attached to our own memory, detached when dropped. Its contents are never looked at
/// through it, since others write there.
#[derive(Debug)]
pub struct Attached {
    address: usize,
}

/// shmat(2) wherever there is room, read-only.
pub fn attach(id: i32) -> Result<Attached> {
    const SHM_RDONLY: i32 = 0o10000;
    // SAFETY: with no address given the kernel takes one where nothing is mapped.
    let address = cvt(unsafe { libc::syscall(libc::SYS_shmat, id, 0, SHM_RDONLY) })?;
    Ok(Attached { address: usize::try_from(address).map_err(|_| Errno::INVAL)? })
}

impl Attached {
    /// The first address, to find the mapping by; never to be looked at.
    pub fn address(&self) -> usize {
        self.address
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: detaches what `attach` attached; no reference into it was ever made.
        unsafe { libc::syscall(libc::SYS_shmdt, self.address) };
    }
}

/// semget(2): a new set of `count` semaphores, all 0.
///
/// # Errors
/// As [`new_memory`].
pub fn new_semaphores(key: i32, count: usize, mode: u32) -> Result<i32> {
    let flags = IPC_CREAT_EXCL | (mode & 0o777).cast_signed();
    // SAFETY: takes numbers only.
    id_of(unsafe { libc::syscall(libc::SYS_semget, key, count, flags) })
}

/// The value of one semaphore of a set (`GETVAL`).
///
/// Sets are read one by one: `GETALL` writes as many values as the set has, whatever we expect.
pub fn semaphore_value(id: i32, index: usize) -> Result<u16> {
    const GETVAL: i32 = 12;
    // SAFETY: takes numbers only.
    let value = cvt(unsafe { libc::syscall(libc::SYS_semctl, id, index, GETVAL, 0) })?;
    u16::try_from(value).map_err(|_| Errno::INVAL)
}

/// Sets the value of one semaphore of a set (`SETVAL`).
///
/// # Errors
/// `ERANGE` for values above 32767.
pub fn set_semaphore_value(id: i32, index: usize, value: u16) -> Result<()> {
    const SETVAL: i32 = 16;
    // SAFETY: takes numbers only.
    cvt(unsafe { libc::syscall(libc::SYS_semctl, id, index, SETVAL, i32::from(value)) }).map(drop)
}

/// Operations on the first semaphore of a set, done at once, without waiting (semop(2)).
pub fn operate(id: i32, operations: &[i16]) -> Result<()> {
    const IPC_NOWAIT: i16 = 0o4000;
    let operations: Vec<libc::sembuf> = operations
        .iter()
        .map(|&sem_op| libc::sembuf { sem_num: 0, sem_op, sem_flg: IPC_NOWAIT })
        .collect();
    let (first, count) = (operations.as_ptr(), operations.len());
    // SAFETY: the kernel reads as many operations as there are.
    cvt(unsafe { libc::syscall(libc::SYS_semop, id, first, count) }).map(drop)
}

/// msgget(2): a new queue without messages.
///
/// # Errors
/// As [`new_memory`].
pub fn new_queue(key: i32, mode: u32) -> Result<i32> {
    let flags = IPC_CREAT_EXCL | (mode & 0o777).cast_signed();
    // SAFETY: takes numbers only.
    id_of(unsafe { libc::syscall(libc::SYS_msgget, key, flags) })
}

/// How many bytes a queue may hold.
pub fn queue_limit(id: i32) -> Result<u64> {
    Ok(status(Kind::Queue, id)?.rest[QUEUE_BYTES])
}

/// Sets how many bytes a queue may hold.
///
/// # Errors
/// `EPERM` above the namespace's `msgmnb` without `CAP_SYS_RESOURCE`.
pub fn set_queue_limit(id: i32, bytes: u64) -> Result<()> {
    let mut now = status(Kind::Queue, id)?;
    now.rest[QUEUE_BYTES] = bytes;
    set_status(Kind::Queue, id, now)
}

/// A message as it lies in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: i64,
    pub text: Vec<u8>,
}

/// Copies message number `index` out of a queue and leaves it there (`MSG_COPY`).
///
/// # Errors
/// `ENOMSG` if there are not so many; `E2BIG` or `EINVAL` if it is longer than `most` bytes or than
/// the namespace's `msgmax`; `ENOSYS` if the kernel was built without checkpoints in mind.
pub fn copy_message(id: i32, index: usize, most: usize) -> Result<Message> {
    const FLAGS: i32 = 0o40000 | 0o4000; // MSG_COPY, IPC_NOWAIT
    let mut buffer = vec![0u8; size_of::<i64>() + most];
    // SAFETY: the kernel writes the type and at most `most` bytes of text.
    let len = cvt(unsafe {
        libc::syscall(libc::SYS_msgrcv, id, buffer.as_mut_ptr(), most, index, FLAGS)
    })?;
    let len = usize::try_from(len).map_err(|_| Errno::INVAL)?;
    let (kind, text) = buffer.split_first_chunk().ok_or(Errno::INVAL)?;
    let text = text.get(..len).ok_or(Errno::INVAL)?.to_vec();
    Ok(Message { kind: i64::from_ne_bytes(*kind), text })
}

/// Puts a message at the end of a queue, without waiting (msgsnd(2)).
///
/// # Errors
/// `EAGAIN` if there is no room, `EINVAL` if it is longer than the namespace's `msgmax`.
pub fn send_message(id: i32, kind: i64, text: &[u8]) -> Result<()> {
    const IPC_NOWAIT: i32 = 0o4000;
    let message = [&kind.to_ne_bytes()[..], text].concat();
    // SAFETY: the kernel reads the type and `text.len()` bytes of text.
    cvt(unsafe { libc::syscall(libc::SYS_msgsnd, id, message.as_ptr(), text.len(), IPC_NOWAIT) })
        .map(drop)
}

fn id_of(result: libc::c_long) -> Result<i32> {
    i32::try_from(cvt(result)?).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Removed also if the test fails.
    struct Temporary(Kind, i32);

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = remove(self.0, self.1);
        }
    }

    #[test]
    fn messages_are_copied_and_stay() {
        let queue = Temporary(Kind::Queue, new_queue(0, 0o600).unwrap());
        send_message(queue.1, 7, b"seven").unwrap();
        send_message(queue.1, 3, b"").unwrap();
        for _ in 0..2 {
            let first = copy_message(queue.1, 0, 100).unwrap();
            assert_eq!(first, Message { kind: 7, text: b"seven".to_vec() });
        }
        assert_eq!(copy_message(queue.1, 1, 0).unwrap().kind, 3);
        assert!(copy_message(queue.1, 2, 100).is_err());
        set_queue_limit(queue.1, 77).unwrap();
        assert_eq!(queue_limit(queue.1).unwrap(), 77);
    }

    #[test]
    fn semaphores_keep_what_they_are_given() {
        let set = Temporary(Kind::Semaphores, new_semaphores(0, 2, 0o600).unwrap());
        set_semaphore_value(set.1, 0, 5).unwrap();
        set_semaphore_value(set.1, 1, 32767).unwrap();
        operate(set.1, &[-1, 1]).unwrap();
        assert_eq!(semaphore_value(set.1, 0).unwrap(), 5);
        assert_eq!(semaphore_value(set.1, 1).unwrap(), 32767);
        assert!(semaphore_value(set.1, 2).is_err());
    }

    #[test]
    fn memory_is_attached_and_left() {
        let memory = Temporary(Kind::Memory, new_memory(0, 5000, 0o600).unwrap());
        set_owner(Kind::Memory, memory.1, Owner { uid: 1, gid: 2, mode: 0o640 }).unwrap();
        let attached = attach(memory.1).unwrap();
        assert_eq!(attached.address() % 4096, 0);
        drop(attached);
        assert_eq!(status(Kind::Memory, memory.1).unwrap().permissions.mode, 0o640);
    }
}
