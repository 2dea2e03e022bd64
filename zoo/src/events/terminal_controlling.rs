//! A child that leads a session with a controlling terminal whose master its parent holds; closing
//! the master hangs the session up.

use crate::prelude::*;

pub const GOAL: &str = "a controlling terminal survives, and its hang-up reaches the session";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (master, slave) = super::open_terminal()?;
    let child = {
        let master = &master;
        raw::fork(stage, move |stage| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(&slave)?;
            raw::syscall(libc::SYS_close, &[std::os::fd::AsRawFd::as_raw_fd(master) as usize])?;
            raw::catch(libc::SIGHUP)?;
            stage.mark("child")?;
            stage.wait_for_go()?;
            std::fs::File::open("/dev/tty").context("no controlling terminal")?;
            stage.mark("checked")?;
            stage.wait_until("SIGHUP", || Ok(!raw::caught().is_empty()))?;
            raw::exit_now(0)
        })?
    };
    stage.wait_for("child")?;
    stage.pause()?;
    stage.wait_until("child", || Ok(stage.path("checked").exists() || finished(stage, &child)))?;
    drop(master);
    child.join(stage)
}

fn finished(stage: &Stage, child: &raw::Child) -> bool {
    stage.path(&format!("child-{}", child.pid)).exists()
}
