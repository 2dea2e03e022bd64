//! Resource limits, soft and hard, all lowered.

use crate::prelude::*;

pub const GOAL: &str = "resource limits survive, soft and hard";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let lower = |which: u32, soft: u64, hard: u64| {
        let limit = [soft, hard];
        raw::syscall(libc::SYS_prlimit64, &[0, which as usize, raw::at(&limit), 0])
    };
    lower(libc::RLIMIT_NOFILE, 333, 4444)?;
    lower(libc::RLIMIT_CORE, 0, 1 << 20)?;
    lower(libc::RLIMIT_STACK, 4 << 20, 6 << 20)?;
    lower(libc::RLIMIT_FSIZE, 1 << 30, 1 << 31)?;
    lower(libc::RLIMIT_NPROC, 3000, 3001)?;
    lower(libc::RLIMIT_MEMLOCK, 4096, 8192)?;
    lower(libc::RLIMIT_DATA, 1 << 32, 1 << 33)?;
    lower(libc::RLIMIT_AS, 1 << 36, 1 << 37)?;
    lower(libc::RLIMIT_CPU, 5000, 6000)?;
    lower(libc::RLIMIT_SIGPENDING, 77, 99)?;
    lower(libc::RLIMIT_MSGQUEUE, 1111, 2222)?;
    super::keep(stage, || {
        let limits = std::fs::read_to_string("/proc/self/limits")?;
        Ok(limits.lines().map(str::to_owned).collect())
    })
}
