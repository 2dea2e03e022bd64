//! The conductor: phases, rollback, report. The facade that containers and the command line call.
//!
//! [`checkpoint`] writes a tree of running processes to files, [`restore`] brings it back, [`check`]
//! tells beforehand what would stand in the way.
#![forbid(unsafe_code)]

mod facade;

pub use facade::{
    CheckpointOptions, Error, ExternalKey, Externals, Fate, InheritedFds, Report, RestoreOptions,
    RestoreRoot, Restored, Stats, WhileStopped, check, checkpoint, restore,
};
