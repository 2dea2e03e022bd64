//! `--init`: a process number 1 that passes signals on and reaps what is left to it.

use std::process::Command;

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Body of `internal-init`: runs `args`, gives their exit code.
pub fn main(args: &[String]) -> i32 {
    let Some((program, arguments)) = args.split_first() else { return 127 };
    let spawned = Command::new(program).args(arguments).spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("exec: {program:?}: {error}");
            return if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        }
    };
    let Ok(pid) = i32::try_from(child.id()) else { return 125 };
    look_after(Pid::from_raw(pid))
}

/// The mask is set after the child was started: it would inherit it.
fn look_after(child: Pid) -> i32 {
    let all = SigSet::all();
    if all.thread_block().is_err() {
        return 125;
    }
    loop {
        if let Some(code) = reap(child) {
            return code;
        }
        match all.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => drop(kill(child, signal)),
        }
    }
}

/// Reaps all that have ended; the exit code of `child` if it was among them.
fn reap(child: Pid) -> Option<i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => return Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Some(128 + signal as i32);
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(_) => {}
        }
    }
}
