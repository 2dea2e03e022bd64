//! The inventory: format version and what the tree is compared with.

use super::pstree::TaskKobjIdsEntry;

/// `inventory_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InventoryEntry {
    /// Version of the format.
    #[prost(uint32, required, tag = "1")]
    pub img_version: u32,
    /// Tables of descriptors are stored by their id; must be true.
    #[prost(bool, optional, tag = "2")]
    pub fdinfo_per_id: Option<bool>,
    /// Kernel objects of the process that took the checkpoint; must be present.
    #[prost(message, optional, tag = "3")]
    pub root_ids: Option<TaskKobjIdsEntry>,
    /// True in every modern dump: files of namespaces are named by namespace id, not by pid.
    #[prost(bool, optional, tag = "4")]
    pub ns_per_id: Option<bool>,
    /// Id of the cgroup set the dumping CRIU itself was in.
    #[prost(uint32, optional, tag = "5")]
    pub root_cg_set: Option<u32>,
    /// LSM active on the dumping host.
    #[prost(uint32, optional, tag = "6")]
    pub lsmtype: Option<u32>,
    /// Host uptime in microseconds at dump time.
    #[prost(uint64, optional, tag = "8")]
    pub dump_uptime: Option<u64>,
    /// Only in pre-dump directories: 1 splice, 2 process_vm_readv.
    #[prost(uint32, optional, tag = "9")]
    pub pre_dump_mode: Option<u32>,
    /// Present and true if the dump ran with `--tcp-close`.
    #[prost(bool, optional, tag = "10")]
    pub tcp_close: Option<bool>,
    /// Method used to lock TCP during dump: 0 iptables, 1 nftables, 2 skip.
    #[prost(uint32, optional, tag = "11")]
    pub network_lock_method: Option<u32>,
    /// Plugins that took part in the dump.
    #[prost(message, optional, tag = "12")]
    pub plugins_entry: Option<PluginsEntry>,
    /// UUID text of the dumping CRIU run.
    #[prost(bytes = "vec", optional, tag = "13")]
    pub dump_criu_run_id: Option<Vec<u8>>,
    /// True when the dump met a `[uprobes]` mapping and was allowed to go on.
    #[prost(bool, optional, tag = "14")]
    pub allow_uprobes: Option<bool>,
}

/// `plugins_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PluginsEntry {
    /// File names of the plugins used (for instance a GPU plugin).
    #[prost(bytes = "vec", repeated, tag = "12")]
    pub plugins: Vec<Vec<u8>>,
}
