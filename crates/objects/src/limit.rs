//! getrlimit(2), read from `/proc/PID/limits` because prlimit(2) on another user's task needs
//! `CAP_SYS_RESOURCE`.

use stasis_model::{Limit, Subject};
use stasis_sys::Errno;
use stasis_tracee::{Blank, ProcDir};

use crate::{
    error::{Error, Result},
    thawing::Thawing,
};

pub fn freeze(proc: &ProcDir) -> Result<Vec<Limit>> {
    let limits = proc.parse("limits", stasis_proctext::limits::parse)?;
    Ok(limits.into_iter().map(|(soft, hard)| Limit { soft, hard }).collect())
}

/// Sets from outside the limits that are not what the process was `born_with`.
///
/// A hard limit above ours cannot be set without `CAP_SYS_RESOURCE`: then ours stays, which is told.
pub fn thaw(
    blank: &Blank,
    limits: &[Limit],
    born_with: &[Limit],
    thawing: &mut Thawing,
) -> Result<()> {
    for (resource, limit) in (0u32..).zip(limits) {
        if born_with.get(resource as usize) == Some(limit) {
            continue;
        }
        match stasis_sys::process::set_limit(blank.pid(), resource, limit.soft, limit.hard) {
            Ok(()) => {}
            Err(Errno::PERM) => {
                let subject = Subject::Task { pid: blank.own_pid(), name: String::new() };
                let reason = format!("limit {resource} could not be raised to {}", limit.hard);
                thawing.loss(subject, reason);
            }
            Err(errno) => {
                let object = format!("limit {resource} of task {}", blank.own_pid());
                return Err(Error::at(object, "prlimit")(errno));
            }
        }
    }
    Ok(())
}
