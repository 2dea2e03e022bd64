//! Trees of tasks, sessions, groups, threads.

crate::programs! { "tasks";
    dead_main_thread
    executes_afterwards
    group_left_by_founder
    group_with_dead_leader
    orphan
    pidfds
    random_tree
    session_with_dead_leader
    sessions_groups
    shared_fs
    stopped_child
    stopped_known
    threads_many
    threads_work
    tree_deep
    tree_of_threads
    tree_wide
    vfork_parent
    zombie_in_group
    zombie_session_leader
    zombies
}

use std::fs;

use anyhow::{Context, ensure};

use crate::{program::Verdict, raw, stage::Stage};

/// Marks `name`, waits, and checks that pid, parent, group and session are as before.
fn keep_ids(stage: &Stage, name: &str) -> Verdict {
    let look = || -> anyhow::Result<_> {
        use rustix::process::{getpgid, getppid, getsid};
        Ok((raw::getpid(), getppid(), getpgid(None)?, getsid(None)?))
    };
    // Whoever is adopted has its parent settled before it gets here.
    let before = look()?;
    stage.mark(name)?;
    stage.wait_for_go()?;
    ensure!(look()? == before, "{name} has the ids {:?} instead of {before:?}", look()?);
    Ok(())
}

/// The state of a task as one letter (proc_pid_stat(5)).
pub fn state(pid: i32) -> anyhow::Result<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = text.rsplit(')').next().context("no name in stat")?;
    after_name.trim_start().chars().next().context("no state in stat")
}

pub fn wait_for_state(stage: &Stage, pid: i32, wanted: char) -> Verdict {
    stage.wait_until("state of a child", || Ok(state(pid)? == wanted))
}

fn wait_until_dead(stage: &Stage, pid: i32) -> Verdict {
    wait_for_state(stage, pid, 'Z')
}

/// The name of the calling thread.
fn comm() -> anyhow::Result<String> {
    Ok(fs::read_to_string(format!("/proc/self/task/{}/comm", raw::gettid()))?)
}
