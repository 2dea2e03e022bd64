//! Statistics of a checkpoint.

use crate::{
    Result,
    wire::{
        framing::{RecordWriter, Records},
        magic::format_of,
        stats::{DumpStatsEntry, StatsEntry},
    },
};

pub(super) const FILE: &str = "stats-dump";

/// What taking the checkpoint cost. Times are microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpStats {
    /// Until all tasks stood still.
    pub freezing_us: u32,
    /// How long they stood still.
    pub frozen_us: u32,
    /// Finding the pages and taking them out.
    pub memdump_us: u32,
    /// Writing them.
    pub memwrite_us: u32,
    pub pages_scanned: u64,
    /// Unchanged since the parent.
    pub pages_skipped_parent: u64,
    pub pages_written: u64,
    pub shared_pages_scanned: u64,
    pub shared_pages_skipped_parent: u64,
    pub shared_pages_written: u64,
}

pub(super) fn encode(stats: &DumpStats) -> Vec<u8> {
    let dump = DumpStatsEntry {
        freezing_time: stats.freezing_us,
        frozen_time: stats.frozen_us,
        memdump_time: stats.memdump_us,
        memwrite_time: stats.memwrite_us,
        pages_scanned: stats.pages_scanned,
        pages_skipped_parent: stats.pages_skipped_parent,
        pages_written: stats.pages_written,
        pages_lazy: 0,
        shpages_scanned: Some(stats.shared_pages_scanned),
        shpages_skipped_parent: Some(stats.shared_pages_skipped_parent),
        shpages_written: Some(stats.shared_pages_written),
        ..Default::default()
    };
    let mut written = RecordWriter::new(format_of(FILE).expect("statistics have a format"));
    written.record(&StatsEntry { dump: Some(dump), restore: None });
    written.into_bytes()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Option<DumpStats>> {
    let format = format_of(FILE).expect("statistics have a format");
    let entry: StatsEntry = Records::open(FILE, format, bytes)?.single()?;
    Ok(entry.dump.map(|dump| DumpStats {
        freezing_us: dump.freezing_time,
        frozen_us: dump.frozen_time,
        memdump_us: dump.memdump_time,
        memwrite_us: dump.memwrite_time,
        pages_scanned: dump.pages_scanned,
        pages_skipped_parent: dump.pages_skipped_parent,
        pages_written: dump.pages_written,
        shared_pages_scanned: dump.shpages_scanned.unwrap_or(0),
        shared_pages_skipped_parent: dump.shpages_skipped_parent.unwrap_or(0),
        shared_pages_written: dump.shpages_written.unwrap_or(0),
    }))
}
