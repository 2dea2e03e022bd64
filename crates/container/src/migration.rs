//! A running container goes to another host: rounds of memory while it runs, and then the rest.
//!
//! Both ends are this program, joined by a stream each way, such as those of ssh(1). What travels are
//! archives, as for export and import: one per round, and last that of the checkpoint, which builds upon
//! them.
//!
//! | source | target |
//! |---|---|
//! | `Hello`: whom it brings | |
//! | | `Want`, for each content of the image that it lacks |
//! | the content | |
//! | | `Welcome`, or `Failed` |
//! | for each round: `Round`, archive | |
//! | | `Stored`, when it is whole and verified |
//! | stops the container; `Last`, archive | |
//! | | `Running`, when its tasks run |
//! | `Commit` | |
//! | | `Done`: it stays |
//! | ends the tasks that stand here | |
//!
//! Whatever fails before `Commit` leaves the container running at the source and nothing at the target but
//! the image, for whom a stream that ends is a failure as well. When the streams break between `Commit` and `Done`
//! nobody can know what the other has read: then the source runs on, and says that the target may, too.

pub(crate) mod arrival;
mod image;
mod protocol;
mod receive;
mod send;

use std::time::Duration;

pub use receive::Received;
pub use send::{Migrate, Migrated};

/// Most rounds; deeper chains of memory are not read.
const MAX_ROUNDS: usize = 32;

/// One round as it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundFigures {
    pub nr_pages: u64,
    /// Left in the round before.
    pub nr_unchanged: u64,
    /// What went over the wire.
    pub bytes_sent: u64,
    pub took: Duration,
    /// How long the container stood still for it.
    pub stopped: Duration,
}
