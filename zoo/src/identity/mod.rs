//! Credentials, limits, names and other attributes of tasks.

crate::programs! { "identity";
    affinity
    attributes
    capabilities
    capabilities_ambient
    capabilities_bounding
    capabilities_of_threads
    clear_child_tid
    directory
    ids
    ids_dropped
    ids_of_threads
    io_priority
    limits
    membarrier
    names
    no_new_privs
    oom_score
    parent_death_signal
    personality
    proc_views
    restartable_sequences
    robust_list
    root
    scheduling
    scheduling_real_time
    seccomp
    seccomp_children
    seccomp_of_threads
    seccomp_strict
    securebits
    umask
}

use std::{fs, io};

use anyhow::ensure;

use crate::{program::Verdict, raw, stage::Stage};

type Look = anyhow::Result<Vec<String>>;

/// Looks at something, waits, and checks that it looks the same.
fn keep(stage: &Stage, look: impl Fn() -> Look) -> Verdict {
    let before = look()?;
    stage.pause()?;
    same(&before, &look()?)
}

fn same(before: &[String], after: &[String]) -> Verdict {
    let differ = before.iter().zip(after).find(|(before, after)| before != after);
    if let Some((before, after)) = differ {
        anyhow::bail!("{after} instead of {before}");
    }
    ensure!(before.len() == after.len(), "{} lines instead of {}", after.len(), before.len());
    Ok(())
}

/// Prepares some threads, each by its number, and lets each check that it looks the same.
fn in_threads(
    stage: &Stage,
    prepare: impl Fn(usize) -> Verdict + Send + Copy + 'static,
    look: impl Fn() -> Look + Send + Copy + 'static,
) -> Verdict {
    const COUNT: usize = 5;
    let hold = move |stage: &Stage, number: usize| {
        prepare(number)?;
        let before = look()?;
        stage.mark(&format!("at-{number}"))?;
        stage.wait_for_go()?;
        same(&before, &look()?)
    };
    let start = |number| {
        let stage = stage.clone();
        std::thread::spawn(move || hold(&stage, number))
    };
    let threads: Vec<_> = (1..=COUNT).map(start).collect();
    let started = |number: usize| threads[number - 1].is_finished() || marked(stage, number);
    stage.wait_until("threads", || Ok((1..=COUNT).all(started)))?;
    stage.pause()?;
    threads.into_iter().try_for_each(|thread| thread.join().expect("nobody panics"))
}

fn marked(stage: &Stage, number: usize) -> bool {
    stage.path(&format!("at-{number}")).exists()
}

/// Lines of the calling thread's status (proc_pid_status(5)) whose names start like that.
fn status(names: &[&str]) -> Look {
    let text = fs::read_to_string(format!("/proc/self/task/{}/status", raw::gettid()))?;
    let wanted = |line: &&str| names.iter().any(|name| line.starts_with(name));
    Ok(text.lines().filter(wanted).map(str::to_owned).collect())
}

fn prctls(options: &[i32]) -> Look {
    let ask = |&option| Ok(format!("prctl {option}: {}", raw::prctl(option, &[0, 0, 0, 0])?));
    options.iter().map(ask).collect()
}

/// Policy, priority and nice value of the calling thread.
fn scheduling() -> Look {
    let policy = raw::syscall(libc::SYS_sched_getscheduler, &[0])?;
    let mut priority = 0_i32;
    raw::syscall(libc::SYS_sched_getparam, &[0, raw::into(&mut priority)])?;
    let nice = raw::syscall(libc::SYS_getpriority, &[libc::PRIO_PROCESS as usize, 0])?;
    Ok(vec![format!("policy {policy:#x}, priority {priority}, nice {}", 20 - nice as i64)])
}

fn set_policy(policy: i32, priority: i32) -> io::Result<()> {
    raw::syscall(libc::SYS_sched_setscheduler, &[0, policy as usize, raw::at(&priority)]).map(drop)
}

/// Sets the calling thread's capabilities among the first 32, leaving none of the others (capset(2)).
fn set_capabilities(effective: u32, permitted: u32, inheritable: u32) -> Verdict {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let effective = effective & permitted;
    let data = [effective, permitted, inheritable, 0, 0, 0];
    raw::syscall(libc::SYS_capset, &[raw::at(&header), raw::at(&data)])?;
    Ok(())
}

/// Adds a seccomp filter that answers one system call with an error.
fn forbid(number: libc::c_long, errno: i32, flags: libc::c_ulong) -> Verdict {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = [filter.len(), raw::at(&filter)];
    let set = libc::SECCOMP_SET_MODE_FILTER as usize;
    raw::syscall(libc::SYS_seccomp, &[set, flags as usize, raw::at(&program)])?;
    Ok(())
}
