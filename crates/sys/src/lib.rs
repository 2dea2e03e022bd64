//! One safe function per system call we need; the only room with `unsafe`.

pub mod disposition;
pub mod seccomp;
