//! Filters inherited by a child, which adds one of its own and is an ordinary user.

use crate::prelude::*;

pub const GOAL: &str = "seccomp filters shared by parent and child survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_NO_NEW_PRIVS, &[1, 0, 0, 0])?;
    super::forbid(libc::SYS_setpgid, libc::ENOTNAM, 0)?;
    let call = |number| raw::syscall(number, &[0, 0]).map_err(|e| e.raw_os_error());
    let child = raw::fork(stage, |stage| {
        super::forbid(libc::SYS_getpriority, libc::EILSEQ, 0)?;
        raw::syscall(libc::SYS_setresuid, &[65534; 3])?;
        stage.mark("child").or_else(|_| Ok::<_, anyhow::Error>(()))?;
        stage.wait_for_go()?;
        let seen = [call(libc::SYS_setpgid), call(libc::SYS_getpriority)];
        ensure!(seen == [Err(Some(libc::ENOTNAM)), Err(Some(libc::EILSEQ))], "child: {seen:?}");
        raw::exit_now(0)
    })?;
    std::thread::sleep(50 * MS);
    stage.pause()?;
    ensure!(call(libc::SYS_setpgid) == Err(Some(libc::ENOTNAM)), "the parent's filter is gone");
    ensure!(call(libc::SYS_getpriority).is_ok(), "the parent has its child's filter");
    child.join(stage)
}
