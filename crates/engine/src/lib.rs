//! The conductor: phases, rollback, report. The facade that containers and the command line call.
//!
//! [`checkpoint`] writes a tree of running processes to files, [`restore`] brings it back, [`check`]
//! tells beforehand what would stand in the way.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod abandoned;
mod ahead;
mod awake;
mod births;
mod checkpoint;
mod clocks;
mod connections;
mod contents;
mod cpuid;
mod deadline;
mod error;
mod facade;
mod family;
mod host;
mod ipc;
mod ipc_sysctls;
mod memory;
mod morph;
mod namespaces;
mod own_limit;
mod patience;
mod phases;
mod pids;
mod pre_dump;
mod processor;
mod read_ahead;
mod reading;
mod remains;
mod restore;
mod root;
mod survey;
mod tracking;
mod vdso;
mod visit;

pub use checkpoint::checkpoint;
pub use facade::{
    CheckpointOptions, Error, ExternalKey, Externals, Fate, FrozenConnections, InheritedFds,
    LockError, LockGuard, Locked, Locking, NamespaceOf, NetworkLock, Pages, Report, RestoreOptions,
    RestoreRoot, Restored, Stats, SurveyedConnections, ThawedConnections, WhileStopped,
};
pub use host::{Fitness, check_restore};
pub use own_limit::raise as raise_own_limit;
pub use pre_dump::{PreDumpOptions, pre_dump};
pub use reading::{MemoryDifference, compare_memory, read, verify};
pub use restore::restore;
pub use stasis_files::{Parents, Previous, round_of};
pub use stasis_objects::tcp_connection::{Keeping, REPAIR_MARK};
pub use stasis_plan::CpuCheck;
pub use stasis_tracee::blank_program;
pub use survey::check;
pub use tracking::{Since, Tracking};
