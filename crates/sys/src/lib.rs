//! One safe function per system call that the engine needs and that no well-kept crate wraps: ptrace(2),
//! remote memory, page maps, kcmp(2), socket options and a few ioctls.
//!
//! This is the only room with `unsafe`, which here means: could break *our* memory. What a call does to
//! a tracee is told under "Effect on the tracee". Remote addresses are plain integers throughout.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cpuid;
pub mod disposition;
pub mod environment;
pub mod errno;
pub mod fcntl;
pub mod heap;
pub mod ioctl;
pub mod kcmp;
pub mod memory;
pub mod openat2;
pub mod pagemap;
pub mod pidfd;
pub mod process;
pub mod ptrace;
pub mod sched;
pub mod seccomp;
pub mod shared_memory;
pub mod socket;
pub mod system_v;
pub mod userfaultfd;
pub mod wait;

pub use errno::{Errno, Result};
