//! Before the reboot.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use stasis_engine::Report;

use super::{CHECKPOINT, node, order::in_order};
use crate::{
    checkpoint::{Existing, Fate, LeftOut, MemoryWritten, Wanted},
    error::{Context, Error, Result},
    process::ProcessId,
    state::{Saved, State, Status},
    store::{Container, Store},
};

const SIGKILL: i32 = 9;
/// How long a session of `exec` may take to go once it was killed.
const SESSION_PATIENCE: Duration = Duration::from_secs(2);

/// What a checkpoint has of root file systems and volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disks {
    /// Nothing, since they outlive the reboot: it is of use to `resume` alone.
    Stay,
    /// All of them, so that it can be used later and elsewhere.
    Copied,
}

/// A container that ran, and what became of it.
#[derive(Debug)]
pub struct WasSaved {
    pub container: Container,
    pub took: Duration,
    pub how: SavedAs,
}

/// What became of a container that ran.
#[derive(Debug)]
pub enum SavedAs {
    /// It is on disk. So many sessions of `exec` were ended for that.
    Frozen { report: Box<Report>, nr_sessions: usize },
    /// This kept it from being frozen in time, so it was stopped as `stop` does.
    Stopped(Error),
    /// It was to be stopped, and did not even do that.
    RunsOn(Error),
}

impl Store {
    /// Freezes all containers that run. What cannot be frozen, or not before `deadline`, is stopped
    /// after the others.
    ///
    /// # Errors
    /// If the containers cannot be listed, or the disk does not take what was written.
    pub fn save(&self, deadline: Option<Instant>, disks: Disks) -> Result<Vec<WasSaved>> {
        let running: Vec<(Container, State)> = self.running()?;
        let mut done = Vec::new();
        let mut not_frozen = Vec::new();
        for (container, state) in running {
            let since = Instant::now();
            match container.save_before(deadline, disks, &state) {
                Ok((report, nr_sessions)) => done.push(WasSaved {
                    container,
                    took: since.elapsed(),
                    how: SavedAs::Frozen { report: Box::new(report), nr_sessions },
                }),
                Err(error) => not_frozen.push((container, state.status, error)),
            }
        }
        done.extend(stop_all(not_frozen));
        self.images().settle()?;
        self.sync_disk()?;
        Ok(done)
    }

    /// Who needs others comes before them, and who started last comes first.
    fn running(&self) -> Result<Vec<(Container, State)>> {
        let with_state = |container: Container| {
            // It may have been removed meanwhile.
            let state = container.state().ok().filter(|state| state.status.is_up())?;
            Some((container, state))
        };
        let mut running: Vec<_> = self.list()?.into_iter().filter_map(with_state).collect();
        running.sort_by_key(|(_, state)| state.started);
        let mut sorted = in_order(running, |(container, _)| node(container));
        sorted.reverse();
        Ok(sorted)
    }

    /// Root file systems and volumes are not in the checkpoints: they must be on disk as well.
    fn sync_disk(&self) -> Result<()> {
        let root = self.home().root();
        let dir = File::open(root).context("open", root.display())?;
        rustix::fs::syncfs(&dir).context("sync the file system of", root.display())
    }
}

impl Container {
    /// Freezes a container that runs; it runs on if that fails. Gives the number of sessions of `exec`
    /// that were ended for it.
    fn save_before(
        &self,
        deadline: Option<Instant>,
        disks: Disks,
        state: &State,
    ) -> Result<(Report, usize)> {
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(Error::invalid("there was no time left to freeze it"));
        }
        if state.status == Status::Paused {
            self.unpause()?;
        }
        let nr_sessions = self.end_sessions(state)?;
        // Noted before it is frozen: from then on nobody could do so in time if the machine stopped.
        let saved = Saved { checkpoint: Some(CHECKPOINT.into()), was: state.status };
        self.update(|state| state.saved = Some(saved))?;
        let frozen = self.checkpoint(&Wanted {
            name: CHECKPOINT,
            dir: None,
            fate: Fate::Stop,
            left_out: match disks {
                Disks::Stay => LeftOut { rootfs: true, volumes: true },
                Disks::Copied => LeftOut::default(),
            },
            existing: Existing::Replace,
            deadline,
            memory: MemoryWritten::All,
        });
        match frozen {
            Ok(made) => Ok((made.report, nr_sessions)),
            Err(error) => {
                self.update(|state| state.saved = None)?;
                Err(error)
            }
        }
    }

    /// Sessions of `exec` would end with the machine, and a checkpoint cannot hold them.
    fn end_sessions(&self, state: &State) -> Result<usize> {
        let strangers = self.strangers(state)?;
        let sessions: Vec<ProcessId> = strangers.into_iter().filter_map(ProcessId::probe).collect();
        sessions.iter().try_for_each(|session| session.signal(SIGKILL))?;
        let deadline = Instant::now() + SESSION_PATIENCE;
        while sessions.iter().any(ProcessId::is_alive) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(sessions.len())
    }

    fn stop_instead(&self, was: Status) -> Result<()> {
        self.stop(None)?;
        let saved = Saved { checkpoint: None, was };
        match self.update(|state| state.saved = Some(saved)) {
            // Removed by its monitor, as `--rm` asks.
            Ok(()) | Err(Error::NoSuchContainer(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// All at once, since each may take as long as it was told to.
fn stop_all(not_frozen: Vec<(Container, Status, Error)>) -> Vec<WasSaved> {
    let stop = |(container, was, reason): (Container, Status, Error)| {
        let since = Instant::now();
        let how = match container.stop_instead(was) {
            Ok(()) => SavedAs::Stopped(reason),
            Err(error) => SavedAs::RunsOn(error),
        };
        WasSaved { container, took: since.elapsed(), how }
    };
    std::thread::scope(|scope| {
        let stopping: Vec<_> =
            not_frozen.into_iter().map(|one| scope.spawn(move || stop(one))).collect();
        stopping
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
