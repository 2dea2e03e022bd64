//! Checkpoints as archives that other hosts and other engines read.
//!
//! The form is Podman's: a tar, compressed or not, whose members are the files of a checkpoint, which
//! lie under the same names on disk, and some that only others need:
//!
//! | member | holds |
//! |---|---|
//! | `config.dump` | the container's configuration in Podman's words |
//! | `spec.dump` | the OCI runtime specification it ran with |
//! | `network.status` | its addresses |
//! | `stats-dump` | CRIU's statistics |
//! | `ctr.log` | what it has printed, as Podman's `k8s-file` driver writes it |
//!
//! `checksums.json`, ours, comes last and speaks of all of them. Archives of others have none; they are
//! known by having no `config.json`.

mod export;
mod import;
pub(super) mod log;
mod podman;

pub use export::Compression;
pub(super) use export::write_files;
pub use import::{Fetch, Staged, StagedRound};

const CONFIG_DUMP: &str = "config.dump";
const NETWORK_STATUS: &str = "network.status";
const STATS_DUMP: &str = "stats-dump";
pub(super) const LOG: &str = "ctr.log";
