//! rt_sigtimedwait(2) that times out. The kernel itself ends this call with EINTR when the task is
//! stopped; the program must not see that.

use crate::prelude::*;

pub const GOAL: &str = "sigtimedwait(2) times out after the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::block(&[libc::SIGUSR1])?;
    super::timed(stage, |time| {
        match raw::take(&[libc::SIGUSR1], time).map_err(|e| e.raw_os_error()) {
            Err(Some(libc::EAGAIN)) => Ok(0),
            other => bail!("sigtimedwait: {:?} instead of EAGAIN", other.map(|i| i.signal)),
        }
    })
}
