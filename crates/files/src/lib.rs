//! Checkpoint files in the format of CRIU 4.2, and the tree that is read from and written into them.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod convert;
mod directory;
mod error;
pub mod wire;

pub use convert::{Facts, IdMap, IpcSysctls, SecurityModule, namespace_id};
pub use directory::{
    DumpStats, GhostChunk, GhostReader, GhostWriter, PageOwner, PageReader, PageWriter, PagemapRun,
    ReadAt, Reader, StoredRun, Writer, decode_pagemap, ghost_chunks,
};
pub use error::{Error, Result};
