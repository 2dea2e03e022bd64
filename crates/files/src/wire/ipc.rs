//! System V IPC and its sysctls.

/// `ipc_var_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IpcVarEntry {
    /// kernel.sem: four values.
    #[prost(uint32, repeated, packed = "false", tag = "1")]
    pub sem_ctls: Vec<u32>,
    /// kernel.msgmax.
    #[prost(uint32, required, tag = "2")]
    pub msg_ctlmax: u32,
    /// kernel.msgmnb.
    #[prost(uint32, required, tag = "3")]
    pub msg_ctlmnb: u32,
    /// kernel.msgmni.
    #[prost(uint32, required, tag = "4")]
    pub msg_ctlmni: u32,
    /// kernel.auto_msgmni.
    #[prost(uint32, required, tag = "5")]
    pub auto_msgmni: u32,
    /// kernel.shmmax.
    #[prost(uint64, required, tag = "6")]
    pub shm_ctlmax: u64,
    /// kernel.shmall.
    #[prost(uint64, required, tag = "7")]
    pub shm_ctlall: u64,
    /// kernel.shmmni.
    #[prost(uint32, required, tag = "8")]
    pub shm_ctlmni: u32,
    /// kernel.shm_rmid_forced.
    #[prost(uint32, required, tag = "9")]
    pub shm_rmid_forced: u32,
    /// fs.mqueue.queues_max.
    #[prost(uint32, required, tag = "10")]
    pub mq_queues_max: u32,
    /// fs.mqueue.msg_max.
    #[prost(uint32, required, tag = "11")]
    pub mq_msg_max: u32,
    /// fs.mqueue.msgsize_max.
    #[prost(uint32, required, tag = "12")]
    pub mq_msgsize_max: u32,
    /// fs.mqueue.msg_default.
    #[prost(uint32, optional, tag = "13")]
    pub mq_msg_default: Option<u32>,
    /// fs.mqueue.msgsize_default.
    #[prost(uint32, optional, tag = "14")]
    pub mq_msgsize_default: Option<u32>,
    /// Next id to hand out, only if set.
    #[prost(uint32, optional, tag = "15")]
    pub msg_next_id: Option<u32>,
    /// Next id to hand out, only if set.
    #[prost(uint32, optional, tag = "16")]
    pub sem_next_id: Option<u32>,
    /// Next id to hand out, only if set.
    #[prost(uint32, optional, tag = "17")]
    pub shm_next_id: Option<u32>,
}

/// `ipc_desc_entry`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IpcDescEntry {
    /// IPC key.
    #[prost(uint32, required, tag = "1")]
    pub key: u32,
    /// Owner.
    #[prost(uint32, required, tag = "2")]
    pub uid: u32,
    /// Group.
    #[prost(uint32, required, tag = "3")]
    pub gid: u32,
    /// Creator.
    #[prost(uint32, required, tag = "4")]
    pub cuid: u32,
    /// Creator group.
    #[prost(uint32, required, tag = "5")]
    pub cgid: u32,
    /// Permission bits.
    #[prost(uint32, required, tag = "6")]
    pub mode: u32,
    /// Identifier (msqid/semid/shmid).
    #[prost(uint32, required, tag = "7")]
    pub id: u32,
}

/// `ipc_shm_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IpcShmEntry {
    /// Common part.
    #[prost(message, required, tag = "1")]
    pub desc: IpcDescEntry,
    /// Segment size in bytes (not rounded).
    #[prost(uint64, required, tag = "2")]
    pub size: u64,
    /// True: content is in `pagemap-shmem-<desc.id>.img`.
    #[prost(bool, optional, tag = "3")]
    pub in_pagemaps: Option<bool>,
    /// SHM_HUGETLB bits.
    #[prost(uint32, optional, tag = "4")]
    pub hugetlb_flag: Option<u32>,
}

/// `ipc_sem_entry`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IpcSemEntry {
    /// Common part.
    #[prost(message, required, tag = "1")]
    pub desc: IpcDescEntry,
    /// Number of semaphores.
    #[prost(uint32, required, tag = "2")]
    pub nsems: u32,
    /// Extension: semop(2) has succeeded before, see [`super::extension`].
    #[prost(bool, optional, tag = "1000")]
    pub operated: Option<bool>,
}

/// `ipc_msg_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IpcMsgEntry {
    /// Common part.
    #[prost(message, required, tag = "1")]
    pub desc: IpcDescEntry,
    /// Queue limit in bytes.
    #[prost(uint32, required, tag = "2")]
    pub qbytes: u32,
    /// Number of messages that follow.
    #[prost(uint32, required, tag = "3")]
    pub qnum: u32,
}

/// `ipc_msg`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IpcMsg {
    /// Message type.
    #[prost(uint64, required, tag = "1")]
    pub mtype: u64,
    /// Length of the text that follows.
    #[prost(uint32, required, tag = "2")]
    pub msize: u32,
}
