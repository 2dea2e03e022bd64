//! Two processes have a segment attached, at different places, and hand a count around in it. The
//! size is not whole pages. Afterwards each detaches it, and nobody is left.

use std::sync::atomic::Ordering;

use crate::prelude::*;

pub const GOAL: &str = "System V memory stays shared under its key and number, wherever attached";
pub const KIND: Kind = Kind::Survives;

const LEN: usize = 9 * raw::PAGE + 100;

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    // Place 7, used for the third time: as numbers are in a namespace that has been busy.
    std::fs::write("/proc/sys/kernel/shm_next_id", "65543")?;
    let id = super::new_memory(0x5a00, LEN)?;
    ensure!(id == 65543, "the number is {id}");
    let memory = super::attach(id, LEN, 0)?;
    memory.fill(2 * raw::PAGE, raw::PAGE, 2);
    let child = raw::fork(stage, |stage| {
        super::detach(&memory)?;
        let _between = raw::Mapping::shared(raw::PAGE)?;
        let elsewhere = super::attach(id, LEN, 0)?;
        elsewhere.fill(5 * raw::PAGE, raw::PAGE, 5);
        stage.mark("child")?;
        stage.wait_until("turn", || Ok(elsewhere.word(0).load(Ordering::SeqCst) == 1))?;
        elsewhere.word(0).store(2, Ordering::SeqCst);
        super::detach(&elsewhere)
    })?;
    stage.wait_for("child")?;
    let before = super::object("shm", id)?;
    stage.pause()?;
    super::same("shm", id, &before)?;
    ensure!(raw::syscall(libc::SYS_shmget, &[0x5a00, LEN, 0])? == id, "another one has the key");
    memory.check(2 * raw::PAGE, raw::PAGE, 2)?;
    memory.check(5 * raw::PAGE, raw::PAGE, 5)?;
    memory.check_zero(6 * raw::PAGE, 4 * raw::PAGE)?;
    memory.word(0).store(1, Ordering::SeqCst);
    stage.wait_until("turn", || Ok(memory.word(0).load(Ordering::SeqCst) == 2))?;
    child.join(stage)?;
    super::detach(&memory)?;
    let after = super::object("shm", id)?;
    ensure!(after[4] == "0", "somebody still has it: {after:?}");
    Ok(())
}
