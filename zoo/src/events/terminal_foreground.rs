//! A session on a terminal with two groups: `^C` must reach the one in the foreground, and only it.

use std::{fs::File, io::Write};

use crate::prelude::*;

pub const GOAL: &str = "a terminal's foreground group survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (master, slave) = super::open_terminal()?;
    let leader = raw::fork(stage, |stage| {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(&slave)?;
        raw::catch(libc::SIGINT)?;
        let child = raw::fork(stage, |stage| {
            rustix::process::setpgid(None, None)?;
            stage.mark("grouped")?;
            stage.wait_until("SIGINT", || Ok(!raw::caught().is_empty()))
        })?;
        stage.wait_for("grouped")?;
        let group = rustix::process::Pid::from_raw(child.pid).context("a pid")?;
        raw::catch(libc::SIGTTOU)?;
        rustix::termios::tcsetpgrp(&slave, group)?;
        stage.mark("leader")?;
        stage.wait_for_go()?;
        ensure!(rustix::termios::tcgetpgrp(&slave)? == group, "another group is in the foreground");
        stage.mark("checked")?;
        child.join(stage)?;
        ensure!(raw::caught().is_empty(), "the leader's group was interrupted");
        Ok(())
    })?;
    stage.wait_for("leader")?;
    stage.pause()?;
    let failed = || stage.path(&format!("child-{}", leader.pid)).exists();
    stage.wait_until("checked", || Ok(stage.path("checked").exists() || failed()))?;
    File::from(master).write_all(b"\x03")?;
    leader.join(stage)
}
