//! A process with another root directory, whose current directory lies below it.

use std::{env, fs, os::unix::fs::chroot};

use crate::prelude::*;

pub const GOAL: &str = "a changed root directory survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    fs::create_dir(stage.path("below"))?;
    let child = raw::fork(stage, |stage| {
        chroot(stage.dir())?;
        env::set_current_dir("/below")?;
        let inside = Stage::seen_at("/");
        inside.mark("child")?;
        inside.wait_for_go()?;
        let cwd = env::current_dir()?;
        ensure!(cwd.as_os_str() == "/below", "cwd is {}", cwd.display());
        ensure!(fs::exists("/child")? && !fs::exists("/proc")?, "the root is another one");
        ensure!(fs::exists("/../child")?, "`..` leads out of the root");
        Ok(())
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    child.join(stage)
}
