//! Two threads share one file-system context (cwd, umask), a third has left it; a child made with
//! CLONE_FS shares it with its parent.

use crate::prelude::*;

pub const GOAL: &str = "tasks that share cwd and umask keep sharing them, others do not";
pub const KIND: Kind = Kind::KeptOrRefused("CLONE_FS");

pub fn run(stage: &Stage) -> Verdict {
    let stage_of_thread = stage.clone();
    let apart = std::thread::spawn(move || -> Verdict {
        raw::syscall(libc::SYS_unshare, &[libc::CLONE_FS as usize])?;
        std::env::set_current_dir("/usr")?;
        stage_of_thread.mark("apart")?;
        stage_of_thread.wait_for("changed")?;
        let cwd = std::env::current_dir()?;
        ensure!(cwd.as_os_str() == "/usr", "thread apart is in {}", cwd.display());
        Ok(())
    });
    let child = raw::clone(stage, libc::CLONE_FS, |stage| {
        stage.mark("child")?;
        stage.wait_for_go()?;
        std::env::set_current_dir("/tmp")?;
        Ok(())
    })?;
    stage.wait_for("apart")?;
    stage.wait_for("child")?;
    std::env::set_current_dir("/")?;
    stage.pause()?;
    child.join(stage)?;
    let cwd = std::env::current_dir()?;
    stage.mark("changed")?;
    ensure!(cwd.as_os_str() == "/tmp", "the child changed to /tmp, we are in {}", cwd.display());
    apart.join().expect("nobody panics")
}
