//! Checkpoint files as they are on disk.
//!
//! One struct a message, with the names and numbers that CRIU 4.2 gives them. Text is bytes, since
//! names and paths need not be UTF-8; enumerations are plain numbers, since unknown ones must survive
//! until somebody can say what they stood for. No repeated field is packed.

pub mod aarch64;
pub mod any;
pub mod apparmor;
pub mod bpfmap;
pub mod cgroup;
pub mod core;
pub mod cpuinfo;
pub mod creds;
pub mod event;
pub mod extension;
pub mod fdinfo;
pub mod file_lock;
pub mod fown;
pub mod fpregs;
pub mod framing;
pub mod fs;
pub mod fsnotify;
pub mod inventory;
pub mod ipc;
pub mod magic;
pub mod memfd;
pub mod mm;
pub mod mnt;
pub mod namespace;
pub mod netdev;
pub mod pagemap;
pub mod pidfd;
pub mod pipe;
pub mod pstree;
pub mod regfile;
pub mod remap;
mod required;
pub mod rlimit;
pub mod seccomp;
pub mod signal;
pub mod sk_inet;
pub mod sk_opts;
pub mod sk_other;
pub mod sk_unix;
pub mod stats;
pub mod timer;
pub mod tty;
mod varint;
pub mod x86;
