//! System V objects of an IPC namespace (sysvipc(7)).

use std::collections::{BTreeMap, BTreeSet};

use crate::{Invalid, PAGE_SIZE, SegmentId, invalid::check};

/// All objects of a tree's own IPC namespace, attached or not. The contents of memory are page
/// streams of the checkpoint, as for other shared memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemV {
    /// By their identifiers, which no other segment of the tree has.
    pub memory: BTreeMap<SegmentId, SystemVMemory>,
    pub semaphores: Vec<SemaphoreSet>,
    pub queues: Vec<MessageQueue>,
}

impl SystemV {
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.semaphores.is_empty() && self.queues.is_empty()
    }

    /// Checks what the kernel would refuse, and what would make two objects of one.
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        for (id, memory) in &self.memory {
            let is_named_so = u64::try_from(memory.object.id) == Ok(id.0);
            check(is_named_so, || format!("System V memory {id} goes under another number"))?;
            check(memory.size > 0 && memory.size <= SystemVMemory::MOST_BYTES, || {
                format!("System V memory {id} of {} bytes cannot be", memory.size)
            })?;
        }
        let of_memory = self.memory.values().map(|memory| &memory.object);
        validate_numbers("memory", of_memory)?;
        validate_numbers("semaphores", self.semaphores.iter().map(|set| &set.object))?;
        validate_numbers("message queue", self.queues.iter().map(|queue| &queue.object))?;
        self.semaphores.iter().try_for_each(SemaphoreSet::validate)?;
        self.queues.iter().try_for_each(MessageQueue::validate)
    }
}

/// Identifiers and keys are each the only ones of their kind.
fn validate_numbers<'a>(
    kind: &str,
    objects: impl Iterator<Item = &'a IpcObject>,
) -> Result<(), Invalid> {
    let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for IpcObject { id, key, .. } in objects {
        check(*id >= 0 && ids.insert(*id), || {
            format!("the number {id} of System V {kind} is negative or occurs twice")
        })?;
        check(*key == 0 || keys.insert(*key), || {
            format!("the key {key:#x} of System V {kind} occurs twice")
        })?;
    }
    Ok(())
}

/// What all kinds have: `struct ipc_perm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpcObject {
    /// The identifier, which programs hold.
    pub id: i32,
    /// 0: `IPC_PRIVATE`, found by its identifier only.
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub creator_uid: u32,
    pub creator_gid: u32,
    /// Permissions, and for memory [`SystemVMemory::REMOVED`] and [`SystemVMemory::LOCKED`].
    pub mode: u32,
}

/// A segment of shared memory (shmget(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemVMemory {
    pub object: IpcObject,
    /// Bytes, as asked for: not always whole pages.
    pub size: u64,
}

impl SystemVMemory {
    /// `SHM_DEST`: goes when the last one detaches it.
    pub const REMOVED: u32 = 0o1000;
    /// `SHM_LOCKED`: its pages stay in memory.
    pub const LOCKED: u32 = 0o2000;
    const MOST_BYTES: u64 = 1 << 62;

    /// Bytes of a mapping of all of it.
    pub fn len_bytes(&self) -> u64 {
        self.size.next_multiple_of(PAGE_SIZE)
    }
}

/// A set of semaphores (semget(2)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemaphoreSet {
    pub object: IpcObject,
    pub values: Vec<u16>,
    /// Whether semop(2) ever succeeded: programs see by `sem_otime` if a set is ready for use.
    pub was_operated: bool,
}

impl SemaphoreSet {
    /// `SEMVMX`
    pub const HIGHEST: u16 = 32767;

    fn validate(&self) -> Result<(), Invalid> {
        let id = self.object.id;
        check(!self.values.is_empty(), || format!("the set {id} has no semaphores"))?;
        check(self.values.iter().all(|value| *value <= Self::HIGHEST), || {
            format!("a semaphore of the set {id} is above {}", Self::HIGHEST)
        })
    }
}

/// A queue of messages (msgget(2)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageQueue {
    pub object: IpcObject,
    /// Most bytes of text that it takes.
    pub limit_bytes: u32,
    /// Oldest first.
    pub messages: Vec<Message>,
}

impl MessageQueue {
    fn validate(&self) -> Result<(), Invalid> {
        check(self.messages.iter().all(|message| message.kind > 0), || {
            format!("a message of queue {} has a type below 1", self.object.id)
        })
    }
}

/// A message in a System V queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Above 0 (msgop(2)).
    pub kind: i64,
    pub text: Vec<u8>,
}
