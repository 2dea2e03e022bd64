//! What a tree lives in: mounts, control groups, the loopback device, and the file-system changes
//! that a container carries.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cgroup;
mod error;
pub mod loopback;
pub mod mount;
pub mod overlay;
pub mod rootfs_diff;

pub use error::{Error, Result};
