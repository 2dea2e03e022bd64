//! Checkpoint files in the format of CRIU 4.2, and the tree that is read from and written into them.
//!
//! - [`wire`]: what lies on the disk, message by message, with our few additions
//!   ([`wire::extension`]).
//! - [`convert`]: a tree as messages and messages as a tree, without touching a disk.
//! - [`Writer`] and [`Reader`]: a checkpoint as a directory, with the streams that are no part of the
//!   tree: contents of pages, of unlinked files, of tmpfs and of the queues of TCP connections.
//!
//! Whatever is read is taken for hostile until it is a tree that [`stasis_model::Tree::validate`]
//! accepts: lengths are bounded, links are not followed, and what the model cannot express is refused
//! by name.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod convert;
mod directory;
mod error;
mod many;
pub mod wire;

pub use convert::{Facts, IdMap, IpcSysctls, SecurityModule, namespace_id};
pub use directory::{
    DumpStats, GhostChunk, GhostReader, GhostWriter, PageOwner, PageReader, PageWriter, PagemapRun,
    Parents, Previous, ReadAt, Reader, StoredRun, TcpQueues, TcpStreamReader, Writer,
    decode_pagemap, ghost_chunks, round_of, tcp_queues,
};
pub use error::{Error, Result};
