//! After the reboot.

use std::time::{Duration, Instant};

use stasis_engine::{CpuCheck, Keeping, Pages, Report};

use super::{node, order::in_order};
use crate::{
    checkpoint::{LeftOut, Restoring, Wish},
    config::RestartPolicy,
    error::{Error, Result},
    state::{Saved, State, Status},
    store::{Container, Store},
};

/// Disks are as they were left.
const ON_DISK: Wish = Wish {
    left_out: LeftOut { rootfs: true, volumes: true },
    cpu: CpuCheck::Ins,
    pages: Pages::Own,
    keeping: Keeping::Possible,
};

/// What becomes of checkpoints that were used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Nothing,
    Checkpoints,
}

/// A container that was to come back.
#[derive(Debug)]
pub struct Resumed {
    pub container: Container,
    pub took: Duration,
    pub how: Came,
}

/// How it came back.
#[derive(Debug)]
pub enum Came {
    /// It goes on where it was frozen.
    Back(Box<Report>),
    /// It began anew, as its restart policy asks.
    ByPolicy,
    /// It began anew, since its checkpoint could not be restored for this reason. That one is kept.
    Anew(Error),
    /// It had to be stopped instead of being frozen, and no policy starts it again.
    Stays,
    Failed(Error),
}

/// Why a container that does not run is to run.
enum Due {
    Frozen {
        checkpoint: String,
        was: Status,
    },
    ByPolicy,
    /// Only to be told of.
    Stopped,
}

impl Store {
    /// Brings back what [`Store::save`] froze, and starts what a restart policy wants to run after a
    /// boot: each after the containers it needs, and the frozen ones first, whose addresses nobody else
    /// may get.
    ///
    /// # Errors
    /// If the containers cannot be listed.
    pub fn resume(&self, kept: Kept) -> Result<Vec<Resumed>> {
        let mut due: Vec<_> = self.list()?.into_iter().filter_map(when_due).collect();
        due.sort_by_key(|(_, state, due)| (!matches!(due, Due::Frozen { .. }), state.started));
        let due = in_order(due, |(container, ..)| node(container));
        let resume = |(container, _, due): (Container, State, Due)| {
            let since = Instant::now();
            let how = match due {
                Due::Frozen { checkpoint, was } => container.come_back(&checkpoint, was, kept),
                Due::ByPolicy => container.begin_anew().map(|()| Came::ByPolicy),
                Due::Stopped => container.update(|state| state.saved = None).map(|()| Came::Stays),
            };
            let how = how.unwrap_or_else(Came::Failed);
            Resumed { container, took: since.elapsed(), how }
        };
        Ok(due.into_iter().map(resume).collect())
    }
}

fn when_due(container: Container) -> Option<(Container, State, Due)> {
    // What is just being removed needs nothing.
    let state = container.state().ok().filter(|state| !state.status.is_up())?;
    let due = match &state.saved {
        Some(Saved { checkpoint: Some(checkpoint), was }) => {
            Due::Frozen { checkpoint: checkpoint.clone(), was: *was }
        }
        _ if wants_to_run(container.config.restart, &state) => Due::ByPolicy,
        Some(Saved { checkpoint: None, .. }) => Due::Stopped,
        None => return None,
    };
    Some((container, state, due))
}

/// As Docker's daemon decides when it starts: what the user stopped stays so unless the policy is
/// `always`; `save` is not the user.
fn wants_to_run(policy: RestartPolicy, state: &State) -> bool {
    let has_run = state.started.is_some();
    match policy {
        RestartPolicy::Always => has_run,
        RestartPolicy::UnlessStopped => has_run && (!state.stop_requested || state.saved.is_some()),
        RestartPolicy::No | RestartPolicy::OnFailure { .. } => false,
    }
}

impl Container {
    fn come_back(&self, checkpoint: &str, was: Status, kept: Kept) -> Result<Came> {
        let restored = self
            .find_checkpoint(checkpoint, None)
            .and_then(|stored| self.begin_restore(&stored, ON_DISK))
            .and_then(Restoring::finish);
        let report = match restored {
            Ok(report) => report,
            Err(reason) => return self.begin_anew().map(|()| Came::Anew(reason)),
        };
        if was == Status::Paused {
            self.pause()?;
        }
        match kept {
            Kept::Nothing => self.remove_checkpoint(checkpoint, None)?,
            Kept::Checkpoints => {}
        }
        Ok(Came::Back(Box::new(report)))
    }

    fn begin_anew(&self) -> Result<()> {
        self.begin_start()?.release()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn check(policy: RestartPolicy, state: &State, expect: [bool; 3]) {
        let stopped = State { stop_requested: true, ..state.clone() };
        let saved = Saved { checkpoint: None, was: Status::Running };
        let by_save = State { saved: Some(saved), ..stopped.clone() };
        let found = [state, &stopped, &by_save].map(|state| wants_to_run(policy, state));
        assert_eq!(found, expect, "{policy:?}");
    }

    #[test]
    fn policies_decide_as_at_a_boot() {
        let ran = State { started: Some(Timestamp::now()), ..State::default() };
        check(RestartPolicy::Always, &ran, [true; 3]);
        check(RestartPolicy::UnlessStopped, &ran, [true, false, true]);
        check(RestartPolicy::OnFailure { max_retries: None }, &ran, [false; 3]);
        check(RestartPolicy::No, &ran, [false; 3]);
        check(RestartPolicy::Always, &State::default(), [false; 3]);
    }
}
