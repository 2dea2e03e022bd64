//! Images made by following a Dockerfile.
//!
//! Entry points: [`build`] makes an image of a [`Request`]; [`prune`] forgets what is kept for later
//! builds; [`sweep`] takes away what a build that was killed left behind.
//!
//! Each step works on an overlay over the layers so far, with a fresh directory for its changes, which
//! becomes a layer. Files are copied through a mount that has no place in the file system, so that it
//! goes with us, however we end; commands run in containers of a home of their own.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod cache;
mod changes;
mod command;
mod conduct;
mod context;
mod copy;
mod digesting;
mod error;
mod export;
mod history;
mod interrupt;
mod mounts;
mod owner;
mod request;
mod select;
mod settings;
mod squash;
mod stage;
mod transfer;
mod tree;
mod workplace;

pub use cache::{Pruned, prune};
pub use conduct::{Built, build};
pub use context::Unpacked;
pub use error::{Error, Result};
pub use request::{
    Caching, Context, Network, Outcome, Outside, Report, Request, SecretSource, Squashing, Supply,
    Text,
};
pub use workplace::sweep;
