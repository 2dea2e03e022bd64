//! Checkpoint files in the format of CRIU 4.2, and the tree that is read from and written into them.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod wire;

pub use error::{Error, Result};
