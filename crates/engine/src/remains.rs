//! What a restore has left that failed: processes that were killed together with their parents. Who adopts them may
//! be slow to collect them, and until then their ids are not free for another attempt.

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, child_subreaper, getpid, set_child_subreaper};
use stasis_sys::wait::{self, Status, Whom};
use stasis_tracee::ProcDir;

/// Those who were killed end within moments.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Makes us the one who adopts orphans among those born of us (`PR_SET_CHILD_SUBREAPER`), as long as this lives.
pub struct Remains {
    before: Option<Pid>,
    ids: BTreeSet<i32>,
}

impl Remains {
    /// Of processes and threads with these ids, which are the same for us.
    pub fn expect(ids: BTreeSet<i32>) -> Self {
        let before = child_subreaper().ok().flatten();
        // Without success it is for others to collect them.
        let _ = set_child_subreaper(Some(getpid()));
        Remains { before, ids }
    }

    /// Waits for the ends of those that were killed, so that nothing is left of them.
    pub fn collect(self) {
        let since = Instant::now();
        let mut there = self.ids.clone();
        while !there.is_empty() && since.elapsed() < PATIENCE {
            for id in &there {
                // First as who traces it, then as its parent.
                while let Ok(Some((_, Status::Ended { .. }))) = wait::poll(Whom::Thread(*id)) {}
            }
            there.retain(|id| self.is_ours(*id));
            if !there.is_empty() {
                sleep(LOOK_AGAIN);
            }
        }
    }

    /// Whether it is still there, and no stranger who has its id.
    fn is_ours(&self, id: i32) -> bool {
        let stat = ProcDir::open(id).and_then(|proc| proc.stat());
        let me = getpid().as_raw_nonzero().get();
        stat.is_ok_and(|stat| stat.parent == me || self.ids.contains(&stat.parent))
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        let _ = set_child_subreaper(self.before);
    }
}
