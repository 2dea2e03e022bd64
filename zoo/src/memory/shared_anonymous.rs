//! Shared anonymous memory of a parent, its child and its grandchild; a count is handed around.

use std::sync::atomic::Ordering;

use crate::prelude::*;

pub const GOAL: &str = "shared anonymous memory stays shared between parent and child";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::shared(64 * raw::PAGE)?;
    memory.fill(raw::PAGE, raw::PAGE, 1);
    let turn = |stage: &Stage, mine: u32| -> Verdict {
        stage.wait_until("turn", || Ok(memory.word(0).load(Ordering::SeqCst) == mine))?;
        memory.word(0).store(mine + 1, Ordering::SeqCst);
        Ok(())
    };
    let child = raw::fork(stage, |stage| {
        let grandchild = raw::fork(stage, |stage| {
            memory.fill(3 * raw::PAGE, raw::PAGE, 3);
            stage.mark("grandchild")?;
            turn(stage, 3)
        })?;
        memory.fill(2 * raw::PAGE, raw::PAGE, 2);
        stage.mark("child")?;
        turn(stage, 2)?;
        grandchild.join(stage)
    })?;
    stage.wait_for("child")?;
    stage.wait_for("grandchild")?;
    stage.pause()?;
    (1..4).try_for_each(|page| memory.check(page * raw::PAGE, raw::PAGE, page as u8))?;
    memory.check_zero(4 * raw::PAGE, 60 * raw::PAGE)?;
    memory.word(0).store(2, Ordering::SeqCst);
    turn(stage, 4)?;
    child.join(stage)
}
