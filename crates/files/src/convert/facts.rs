//! What checkpoint files tell beside the tree.

use stasis_model::Processor;

use crate::{
    Result,
    error::Place,
    wire::{
        ipc::IpcVarEntry,
        namespace::{UidGidExtent, UsernsEntry},
    },
};

/// What the files hold that is no part of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Names this run, any text. A lock of connections that stays is found by it.
    pub run_id: Option<String>,
    /// Uptime of the host at the freeze, microseconds.
    pub uptime_us: Option<u64>,
    pub security_module: SecurityModule,
    /// Needed if the tree has an IPC namespace of its own.
    pub ipc: Option<IpcSysctls>,
    /// Maps of user and of group ids; needed if the tree has a user namespace of its own.
    pub id_maps: Option<(Vec<IdMap>, Vec<IdMap>)>,
    /// What it ran on.
    pub processor: Option<Processor>,
}

/// The security module whose labels the credentials carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityModule {
    #[default]
    None,
    Selinux,
    Apparmor,
}

impl SecurityModule {
    pub(super) fn number(self) -> u32 {
        match self {
            SecurityModule::None => 0,
            SecurityModule::Selinux => 1,
            SecurityModule::Apparmor => 2,
        }
    }

    pub(super) fn from_number(place: Place, number: u32) -> Result<Self> {
        match number {
            0 => Ok(SecurityModule::None),
            1 => Ok(SecurityModule::Selinux),
            2 => Ok(SecurityModule::Apparmor),
            other => Err(place.field("lsmtype", format!("{other} is not known"))),
        }
    }
}

/// One line of `/proc/PID/uid_map` or `gid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// Sysctls of an IPC namespace: `kernel.*` and `fs.mqueue.*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpcSysctls {
    pub sem: [u32; 4],
    pub msgmax: u32,
    pub msgmnb: u32,
    pub msgmni: u32,
    pub auto_msgmni: u32,
    pub shmmax: u64,
    pub shmall: u64,
    pub shmmni: u32,
    pub shm_rmid_forced: u32,
    pub queues_max: u32,
    pub msg_max: u32,
    pub msgsize_max: u32,
    pub msg_default: Option<u32>,
    pub msgsize_default: Option<u32>,
}

pub(super) fn encode_ipc(ipc: &IpcSysctls) -> IpcVarEntry {
    IpcVarEntry {
        sem_ctls: ipc.sem.to_vec(),
        msg_ctlmax: ipc.msgmax,
        msg_ctlmnb: ipc.msgmnb,
        msg_ctlmni: ipc.msgmni,
        auto_msgmni: ipc.auto_msgmni,
        shm_ctlmax: ipc.shmmax,
        shm_ctlall: ipc.shmall,
        shm_ctlmni: ipc.shmmni,
        shm_rmid_forced: ipc.shm_rmid_forced,
        mq_queues_max: ipc.queues_max,
        mq_msg_max: ipc.msg_max,
        mq_msgsize_max: ipc.msgsize_max,
        mq_msg_default: ipc.msg_default,
        mq_msgsize_default: ipc.msgsize_default,
        ..Default::default()
    }
}

pub(super) fn decode_ipc(place: Place, entry: &IpcVarEntry) -> Result<IpcSysctls> {
    let sem = entry.sem_ctls.as_slice().try_into();
    Ok(IpcSysctls {
        sem: sem.map_err(|_| place.field("sem_ctls", "does not have four values"))?,
        msgmax: entry.msg_ctlmax,
        msgmnb: entry.msg_ctlmnb,
        msgmni: entry.msg_ctlmni,
        auto_msgmni: entry.auto_msgmni,
        shmmax: entry.shm_ctlmax,
        shmall: entry.shm_ctlall,
        shmmni: entry.shm_ctlmni,
        shm_rmid_forced: entry.shm_rmid_forced,
        queues_max: entry.mq_queues_max,
        msg_max: entry.mq_msg_max,
        msgsize_max: entry.mq_msgsize_max,
        msg_default: entry.mq_msg_default,
        msgsize_default: entry.mq_msgsize_default,
    })
}

pub(super) fn encode_id_maps((users, groups): &(Vec<IdMap>, Vec<IdMap>)) -> UsernsEntry {
    let extents = |maps: &[IdMap]| {
        let extent = |map: &IdMap| UidGidExtent {
            first: map.inside,
            lower_first: map.outside,
            count: map.count,
        };
        maps.iter().map(extent).collect()
    };
    UsernsEntry { uid_map: extents(users), gid_map: extents(groups) }
}

pub(super) fn decode_id_maps(entry: &UsernsEntry) -> (Vec<IdMap>, Vec<IdMap>) {
    let maps = |extents: &[UidGidExtent]| {
        let map = |extent: &UidGidExtent| IdMap {
            inside: extent.first,
            outside: extent.lower_first,
            count: extent.count,
        };
        extents.iter().map(map).collect()
    };
    (maps(&entry.uid_map), maps(&entry.gid_map))
}
