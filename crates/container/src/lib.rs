//! The life of a container: its state on disk, the processes that look after it, its checkpoints.
//!
//! Entry points: [`Store`] finds and creates containers; a [`Container`] is started, stopped, frozen
//! and removed. The bodies of our own helper processes are [`monitor::main`] and [`launcher::main`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod attach;
mod bundle;
mod capability;
mod changes;
mod checkpoint;
mod cleanup;
mod commit;
pub mod config;
mod confinement;
mod connection_lock;
mod console;
mod copy;
mod create;
mod disk_usage;
mod error;
mod exec;
mod frame;
pub mod health;
mod home;
mod image_users;
pub mod init;
mod inner_root;
pub mod inside;
pub mod keeper;
mod ksm;
pub mod launcher;
mod lifecycle;
pub mod log;
mod migration;
pub mod monitor;
mod name;
mod networking;
mod place;
mod process;
mod reboot;
mod record;
mod rootfs;
mod seccomp;
pub mod signal;
mod spec;
mod state;
mod store;
mod top;
mod transfer;
mod update;
mod user;
pub mod volume;
mod wait;
mod wire;

pub use bundle::check_cwd;
pub use changes::{Change, ChangeKind};
pub use checkpoint::retention;
pub use checkpoint::{
    Addresses, Cgroups, Checkpoint, Checkpoints, Cloned, Clones, Compression, Existing, Fate,
    Fetch, Held, Host, Hostnames, LeftOut, Lies, Made, MemoryWritten, Origin, Passing, Present,
    Remade, Remake, Restoring, Rewind, Rewound, Sizes, Staged, StagedRound, Stays, Stored, Tags,
    Wanted, Wish, is_of_checkpoint,
};
pub use commit::{Commit, Pausing};
pub use connection_lock::PacketFilter;
pub use copy::{Links, Owners};
pub use error::{Error, Result};
pub use exec::ExecOptions;
pub use frame::Size;
pub use home::Home;
pub use keeper::Keepers;
pub use ksm::{Ksm, Merging};
pub use lifecycle::{Removal, Starting, VolumesOf};
pub use migration::{Migrate, Migrated, Received, RoundFigures};
pub use name::check_name;
pub use process::ProcessId;
pub use reboot::{Came, Disks, Kept, Resumed, SavedAs, WasSaved};
pub use spec::merge_environment;
pub use state::{Frozen, Saved, State, Status, UNKNOWN_EXIT_CODE};
pub use store::{Container, Store};
pub use top::Row;
pub use update::Update;

/// Refuses capabilities, limits and seccomp profiles that do not exist, when the container is created
/// and not only when it is started.
///
/// # Errors
/// [`Error::Invalid`] naming the first of them.
pub fn check_config(config: &config::Config) -> Result<()> {
    capability::wanted(&config.security)?;
    config.limits.ulimits.iter().try_for_each(|limit| spec::resource(&limit.name).map(|_| ()))?;
    if let config::Seccomp::Profile(profile) = &config.security.seccomp {
        seccomp::compile(profile, &capability::granted(&config.security)?)?;
    }
    networking::check(config)?;
    bundle::check_cwd(&config.cwd)
}
