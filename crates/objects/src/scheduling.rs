//! sched_setattr(2): policy, nice value, priority.

use stasis_model::Scheduling;
use stasis_sys::sched::{self, Attributes};

use crate::error::{Error, Result};

pub fn freeze(tid: i32) -> Result<Scheduling> {
    let attributes =
        sched::attributes(tid).map_err(Error::at(format!("thread {tid}"), "sched_getattr"))?;
    Ok(Scheduling {
        nice: attributes.nice,
        policy: attributes.policy,
        priority: attributes.priority,
    })
}

/// Sets it from outside, if it is not what a new thread has anyway.
pub fn thaw(tid: i32, scheduling: &Scheduling) -> Result<()> {
    let Scheduling { nice, policy, priority } = *scheduling;
    let wanted = Attributes { policy, nice, priority };
    let has =
        sched::attributes(tid).map_err(Error::at(format!("thread {tid}"), "sched_getattr"))?;
    if has == wanted {
        return Ok(());
    }
    sched::set_attributes(tid, wanted).map_err(Error::at(format!("thread {tid}"), "sched_setattr"))
}
