//! Statistics files.

/// `stats_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatsEntry {
    /// Filled in `stats-dump`.
    #[prost(message, optional, tag = "1")]
    pub dump: Option<DumpStatsEntry>,
    /// Filled in `stats-restore`.
    #[prost(message, optional, tag = "2")]
    pub restore: Option<RestoreStatsEntry>,
}

/// `dump_stats_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DumpStatsEntry {
    /// Time to seize all tasks, µs.
    #[prost(uint32, required, tag = "1")]
    pub freezing_time: u32,
    /// Time the tasks stood still, µs.
    #[prost(uint32, required, tag = "2")]
    pub frozen_time: u32,
    /// Time spent collecting page ranges and draining them, µs.
    #[prost(uint32, required, tag = "3")]
    pub memdump_time: u32,
    /// Time spent writing page data, µs.
    #[prost(uint32, required, tag = "4")]
    pub memwrite_time: u32,
    /// Pages examined in private mappings.
    #[prost(uint64, required, tag = "5")]
    pub pages_scanned: u64,
    /// Pages found unchanged since the checkpoint before.
    #[prost(uint64, required, tag = "6")]
    pub pages_skipped_parent: u64,
    /// Pages stored in this dump.
    #[prost(uint64, required, tag = "7")]
    pub pages_written: u64,
    /// Time spent resolving inode → path for watches, µs.
    #[prost(uint32, optional, tag = "8")]
    pub irmap_resolve: Option<u32>,
    /// Pages left for a lazy-pages server.
    #[prost(uint64, required, tag = "9")]
    pub pages_lazy: u64,
    /// Number of pipes used for transport (debugging).
    #[prost(uint64, optional, tag = "10")]
    pub page_pipes: Option<u64>,
    /// Number of buffers in these pipes (debugging).
    #[prost(uint64, optional, tag = "11")]
    pub page_pipe_bufs: Option<u64>,
    /// Like `pages_scanned`, shared memory.
    #[prost(uint64, optional, tag = "12")]
    pub shpages_scanned: Option<u64>,
    /// Like `pages_skipped_parent`, shared memory.
    #[prost(uint64, optional, tag = "13")]
    pub shpages_skipped_parent: Option<u64>,
    /// Like `pages_written`, shared memory.
    #[prost(uint64, optional, tag = "14")]
    pub shpages_written: Option<u64>,
}

/// `restore_stats_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RestoreStatsEntry {
    /// Pages compared with an inherited copy during COW reconstruction.
    #[prost(uint64, required, tag = "1")]
    pub pages_compared: u64,
    /// Of these, identical ones that stayed shared.
    #[prost(uint64, required, tag = "2")]
    pub pages_skipped_cow: u64,
    /// Time spent creating the tasks, µs.
    #[prost(uint32, required, tag = "3")]
    pub forking_time: u32,
    /// Total restore time, µs.
    #[prost(uint32, required, tag = "4")]
    pub restore_time: u32,
    /// Pages put into task memory.
    #[prost(uint64, optional, tag = "5")]
    pub pages_restored: Option<u64>,
}
