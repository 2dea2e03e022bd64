//! What a tree lives in: mounts, control groups, the loopback device, and directory trees as tar
//! streams: the file-system changes that a container carries, and layers of images.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cgroup;
mod error;
pub mod loopback;
pub mod mount;
pub mod overlay;
pub mod tar;

pub use error::{Error, Result};
