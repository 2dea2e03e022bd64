//! The tree of processes and the kernel objects they use.

/// `pstree_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PstreeEntry {
    /// Process id as seen inside the (root task's) pid namespace.
    #[prost(uint32, required, tag = "1")]
    pub pid: u32,
    /// Parent's pid in the same numbering, 0 for the first record (root).
    #[prost(uint32, required, tag = "2")]
    pub ppid: u32,
    /// Process group id; 0 is not used.
    #[prost(uint32, required, tag = "3")]
    pub pgid: u32,
    /// Session id.
    #[prost(uint32, required, tag = "4")]
    pub sid: u32,
    /// All thread ids, the leader (== `pid`) at index 0.
    #[prost(uint32, repeated, packed = "false", tag = "5")]
    pub threads: Vec<u32>,
}

/// `task_kobj_ids_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TaskKobjIdsEntry {
    /// Address-space id.
    #[prost(uint32, required, tag = "1")]
    pub vm_id: u32,
    /// Descriptor-table id.
    #[prost(uint32, required, tag = "2")]
    pub files_id: u32,
    /// Filesystem-context (cwd/root/umask) id.
    #[prost(uint32, required, tag = "3")]
    pub fs_id: u32,
    /// Signal-handler-table id.
    #[prost(uint32, required, tag = "4")]
    pub sighand_id: u32,
    /// Pid namespace id.
    #[prost(uint32, optional, tag = "5")]
    pub pid_ns_id: Option<u32>,
    /// Network namespace id.
    #[prost(uint32, optional, tag = "6")]
    pub net_ns_id: Option<u32>,
    /// IPC namespace id.
    #[prost(uint32, optional, tag = "7")]
    pub ipc_ns_id: Option<u32>,
    /// UTS namespace id.
    #[prost(uint32, optional, tag = "8")]
    pub uts_ns_id: Option<u32>,
    /// Mount namespace id.
    #[prost(uint32, optional, tag = "9")]
    pub mnt_ns_id: Option<u32>,
    /// User namespace id.
    #[prost(uint32, optional, tag = "10")]
    pub user_ns_id: Option<u32>,
    /// Cgroup namespace id.
    #[prost(uint32, optional, tag = "11")]
    pub cgroup_ns_id: Option<u32>,
    /// Time namespace id.
    #[prost(uint32, optional, tag = "12")]
    pub time_ns_id: Option<u32>,
}
