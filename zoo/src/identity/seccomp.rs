//! A filter on one process: one call answers ENOTNAM, and a second filter adds another.

use crate::prelude::*;

pub const GOAL: &str = "seccomp filters survive in their order and still act";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_NO_NEW_PRIVS, &[1, 0, 0, 0])?;
    super::forbid(libc::SYS_setpgid, libc::ENOTNAM, 0)?;
    super::forbid(libc::SYS_getpriority, libc::EILSEQ, 0)?;
    super::keep(stage, || {
        let mut all = super::status(&["Seccomp", "NoNewPrivs"])?;
        for number in [libc::SYS_setpgid, libc::SYS_getpriority, libc::SYS_getuid] {
            let result = raw::syscall(number, &[0, 0]).map_err(|e| e.raw_os_error());
            all.push(format!("{result:?}"));
        }
        Ok(all)
    })
}
