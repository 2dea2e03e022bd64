//! Threads with different filters: one for all (synchronised), and one more in some.

use crate::prelude::*;

pub const GOAL: &str = "seccomp filters survive thread by thread";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_NO_NEW_PRIVS, &[1, 0, 0, 0])?;
    super::forbid(libc::SYS_setpgid, libc::ENOTNAM, libc::SECCOMP_FILTER_FLAG_TSYNC)?;
    super::in_threads(stage, |number| match number % 2 {
        0 => super::forbid(libc::SYS_getpriority, 70 + number as i32, 0),
        _ => Ok(()),
    }, || {
        let mut all = super::status(&["Seccomp"])?;
        for number in [libc::SYS_setpgid, libc::SYS_getpriority] {
            all.push(format!("{:?}", raw::syscall(number, &[0, 0]).map_err(|e| e.raw_os_error())));
        }
        Ok(all)
    })
}
