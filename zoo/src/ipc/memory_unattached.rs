//! Segments that nobody has attached, among them one that was never touched.

use crate::prelude::*;

pub const GOAL: &str = "System V memory that nobody has attached is kept";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    // Other shared memory must not get in the way of its number.
    let other = raw::Mapping::shared(raw::PAGE)?;
    other.fill(0, raw::PAGE, 99);
    let ids = [(0x10, 3 * raw::PAGE), (0, 1), (0x11, 100)]
        .into_iter()
        .map(|(key, len)| super::new_memory(key, len))
        .collect::<anyhow::Result<Vec<usize>>>()?;
    let memory = super::attach(ids[0], 3 * raw::PAGE, 0)?;
    memory.fill(raw::PAGE, raw::PAGE, 8);
    super::detach(&memory)?;
    let before = ids.iter().map(|id| super::object("shm", *id)).collect::<Result<Vec<_>, _>>()?;
    stage.pause()?;
    other.check(0, raw::PAGE, 99)?;
    ids.iter().zip(&before).try_for_each(|(id, before)| super::same("shm", *id, before))?;
    let memory = super::attach(ids[0], 3 * raw::PAGE, 0)?;
    memory.check_zero(0, raw::PAGE)?;
    memory.check(raw::PAGE, raw::PAGE, 8)?;
    let again = super::new_memory(0x12, raw::PAGE)?;
    ensure!(!ids.contains(&again), "the number {again} was given twice");
    Ok(())
}
