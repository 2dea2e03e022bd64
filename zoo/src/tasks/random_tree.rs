//! A tree made by a fixed sequence of pseudo-random forks, exits, setsid and setpgid below
//! subreapers: every member finds its ids unchanged.

use crate::prelude::*;

pub const GOAL: &str = "a tree made by random forks, exits, setsid and setpgid survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    let mut seed = 12345;
    let members = grow(stage, &mut seed, "m", 4)?;
    stage.wait_until("tree", || count(stage, "at-").map(|n| n == members))?;
    std::thread::sleep(50 * MS);
    stage.pause()?;
    let mut reaped = 0;
    while let Ok((pid, status)) = raw::wait_for(-1, 0) {
        let why = std::fs::read_to_string(stage.path(&format!("child-{pid}")));
        ensure!(status == raw::Status::Exited(0), "{pid}: {status:?} {}", why.unwrap_or_default());
        reaped += 1;
    }
    ensure!(reaped > 0, "nobody was left to wait for");
    let done = count(stage, "done-")?;
    ensure!(done == members, "{done} of {members} members checked themselves");
    Ok(())
}

/// How many files in the directory have a name that starts like that.
fn count(stage: &Stage, start: &str) -> anyhow::Result<usize> {
    let names = std::fs::read_dir(stage.dir())?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(start) && !name.ends_with(".draft")).count())
}

fn next(seed: &mut u32) -> u32 {
    *seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
    *seed >> 16
}

/// Makes children of the caller; returns how many members there will be that stay alive.
fn grow(stage: &Stage, seed: &mut u32, name: &str, depth: u32) -> anyhow::Result<usize> {
    let mut members = 0;
    for number in 0..2 + next(seed) % 2 {
        let (choice, mut own) = (next(seed), next(seed));
        let name = format!("{name}{number}");
        // The same sequence tells parent and child what the child will do.
        let leaves = choice % 5 == 0;
        let mut copy = own;
        members += usize::from(!leaves) + if depth > 1 { size(&mut copy, depth - 1) } else { 0 };
        raw::fork(stage, |stage| {
            match choice % 4 {
                0 => drop(rustix::process::setsid()?),
                1 => rustix::process::setpgid(None, None)?,
                2 => drop(raw::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?),
                _ => {}
            }
            if depth > 1 {
                grow(stage, &mut own, &name, depth - 1)?;
            }
            if leaves {
                raw::exit_now(0);
            }
            // Parents may end and the child be adopted, so only later is the parent settled.
            let look = || {
                let ids = (rustix::process::getpgid(None)?, rustix::process::getsid(None)?);
                anyhow::Ok((raw::getpid(), ids))
            };
            let before = look()?;
            stage.mark(&format!("at-{name}"))?;
            stage.wait_for_go()?;
            ensure!(look()? == before, "{name}: {:?} instead of {before:?}", look()?);
            stage.mark(&format!("done-{name}"))?;
            while let Ok((_, status)) = raw::wait_for(-1, 0) {
                ensure!(status == raw::Status::Exited(0), "{name}: a child ended with {status:?}");
            }
            Ok(())
        })?;
    }
    Ok(members)
}

/// How many members [`grow`] will leave alive.
fn size(seed: &mut u32, depth: u32) -> usize {
    (0..2 + next(seed) % 2)
        .map(|_| {
            let (choice, mut own) = (next(seed), next(seed));
            let below = if depth > 1 { size(&mut own, depth - 1) } else { 0 };
            below + usize::from(choice % 5 != 0)
        })
        .sum()
}
