//! What a parent and its children have in common is in memory once, and stays so.

use std::fs;

use anyhow::{Context, ensure};

use crate::prelude::*;

pub const GOAL: &str = "pages shared copy-on-write by parent and children are in memory once";
pub const KIND: Kind = Kind::Survives;

/// Pages that the children share with their parent.
const COMMON: usize = 1024;
/// Pages that each child has changed.
const OWN: usize = 16;

pub fn run(stage: &Stage) -> Verdict {
    let page = raw::PAGE;
    let memory = raw::Mapping::private((COMMON + OWN) * page)?;
    memory.advise(0, (COMMON + OWN) * page, libc::MADV_NOHUGEPAGE)?;
    memory.fill(0, (COMMON + OWN) * page, 1);
    let mut children = Vec::new();
    for seed in [2, 3, 4] {
        children.push(raw::fork(stage, |stage| {
            memory.fill(COMMON * page, OWN * page, seed);
            stage.mark(&format!("child {seed}"))?;
            stage.wait_for_go()?;
            let of_its_own = private_pages(&memory)?;
            ensure!(
                (OWN..=OWN + 4).contains(&of_its_own),
                "{of_its_own} pages are the child's own, it has changed {OWN}"
            );
            memory.check(0, COMMON * page, 1)?;
            memory.check(COMMON * page, OWN * page, seed)?;
            stage.mark(&format!("child {seed} is content"))
        })?);
    }
    for seed in [2, 3, 4] {
        stage.wait_for(&format!("child {seed}"))?;
    }
    stage.pause()?;
    // Whoever ends leaves its share to the others.
    for seed in [2, 3, 4] {
        stage.wait_for(&format!("child {seed} is content"))?;
    }
    memory.check(0, (COMMON + OWN) * page, 1)?;
    children.into_iter().try_for_each(|child| child.join(stage))
}

/// Pages of a mapping that nobody else has (proc_pid_smaps(5)).
fn private_pages(memory: &raw::Mapping) -> anyhow::Result<usize> {
    let text = fs::read_to_string("/proc/self/smaps")?;
    let start = format!("{:x}-", memory.addr);
    let own = text.lines().skip_while(|line| !line.starts_with(&start)).take(26);
    let kib = own.filter_map(|line| line.strip_prefix("Private_Dirty:"));
    let kib = kib.map(|rest| rest.trim().trim_end_matches(" kB").parse::<usize>()).next();
    Ok(kib.context("the mapping is not in smaps")?? * 1024 / raw::PAGE)
}
