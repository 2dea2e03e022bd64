//! A checkpoint as a directory of files.

mod ghosts;
mod open;
mod page_reader;
mod page_writer;
mod parents;
mod pre_dump;
mod reader;
mod stats;
mod tcp_stream;
mod writer;

use stasis_model::{NsPid, SegmentId};

pub use ghosts::{GhostChunk, GhostReader, GhostWriter, ReadAt, ghost_chunks};
pub use page_reader::{PageReader, PagemapRun, StoredRun, decode_pagemap};
pub use page_writer::PageWriter;
pub use parents::Parents;
pub use pre_dump::round_of;
pub use reader::Reader;
pub use stats::DumpStats;
pub use tcp_stream::{TcpQueues, TcpStreamReader, tcp_queues};
pub use writer::{Previous, Writer};

/// Whose memory pages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageOwner {
    Process(NsPid),
    Segment(SegmentId),
}

impl PageOwner {
    /// Name of the list of pages.
    fn pagemap_file(self) -> String {
        match self {
            PageOwner::Process(pid) => format!("pagemap-{pid}.img"),
            PageOwner::Segment(id) => format!("pagemap-shmem-{id}.img"),
        }
    }
}

/// Name of a file with page contents.
fn pages_file(pages_id: u32) -> String {
    format!("pages-{pages_id}.img")
}

/// Bits of `pagemap_entry.flags`.
mod page_flag {
    /// The content is in the parent directory.
    pub const PARENT: u32 = 1;
    pub const LAZY: u32 = 2;
    /// The content is here.
    pub const PRESENT: u32 = 4;
}
