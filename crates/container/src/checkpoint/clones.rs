//! Many containers from one checkpoint, also while the original runs.
//!
//! A checkpoint is looked at once and then restored side by side. What the image has is shared by all,
//! changes of the root file system and volumes are copied. Memory is each clone's own; unless the user does
//! not want it, the kernel merges pages that are equal (`ksm`).

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread::available_parallelism,
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use stasis_engine::Report;

use super::{
    Checkpoint, Disk, Existing, Fate, LeftOut, Made, MemoryWritten, Remade, Remake, Stored, Wanted,
    Wish, disk_elsewhere, restore::Checked, stage::remove_abandoned,
};
use crate::{
    error::{Error, Result},
    lifecycle::{Removal, VolumesOf},
    name, record,
    store::{Container, Store},
};

/// Names no checkpoint can have.
const DIR_PREFIX: &str = ".clone-";
/// Of one in a directory of its own.
const CHECKPOINT: &str = "clone";
const MAX_CLONES: usize = 10_000;

/// Clones to be made.
#[derive(Clone, Copy, Debug)]
pub struct Clones<'a> {
    pub count: usize,
    /// They are called so with a number behind; alone, exactly so. None: as the original.
    pub prefix: Option<&'a str>,
    pub hostnames: Hostnames,
    pub wish: Wish,
}

/// How clones call themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostnames {
    /// As the original.
    Same,
    /// By their own names.
    Own,
}

/// One of them.
#[derive(Debug)]
pub struct Cloned {
    pub name: String,
    /// If it failed, nothing of it is left.
    pub outcome: Result<(Container, Report)>,
}

/// A checkpoint for clones alone, which goes with this value.
pub struct Passing {
    pub stored: Stored,
    dir: PathBuf,
}

impl Drop for Passing {
    fn drop(&mut self) {
        // Whatever is left is swept by the next one.
        let _ = record::remove_tree(&self.dir);
    }
}

impl Container {
    /// Takes a checkpoint that lives no longer than it is needed for clones; the container runs on.
    ///
    /// # Errors
    /// As [`Container::checkpoint`].
    pub fn checkpoint_in_passing(&self) -> Result<Passing> {
        let parent = self.home.checkpoints();
        record::make_private_dir(&parent)?;
        remove_abandoned(&parent, DIR_PREFIX);
        let dir = parent.join(format!("{DIR_PREFIX}{}-{}", self.short_id(), std::process::id()));
        let came_from = self.state()?.came_from;
        let made = self.checkpoint(&Wanted {
            name: CHECKPOINT,
            dir: Some(&dir),
            fate: Fate::LeaveRunning,
            left_out: LeftOut::default(),
            existing: Existing::Replace,
            deadline: None,
            memory: MemoryWritten::All,
        });
        let made = made.inspect_err(|_| drop(record::remove_tree(&dir)));
        let Made { stored, .. } = made?;
        let passing = Passing { stored, dir };
        // Nobody will find it.
        self.update(|state| state.came_from = came_from)?;
        Ok(passing)
    }
}

impl Container {
    /// Its monitor was born while our own limit was raised, and passes it on if it starts the program anew.
    fn limit_monitor(&self, usual: &Rlimit) {
        let monitor = self.state().ok().and_then(|state| state.monitor);
        if let Some(pid) = monitor.and_then(|monitor| Pid::from_raw(monitor.pid)) {
            // Without success the program has a higher limit than it would have had.
            let _ = prlimit(Some(pid), Resource::Nofile, *usual);
        }
    }
}

impl Store {
    /// Makes clones of a checkpoint, several at a time, in the order of their names.
    ///
    /// # Errors
    /// If the checkpoint itself is not fit for it; then there are none. What is wrong with one of them
    /// is in its [`Cloned::outcome`].
    pub fn clones(&self, stored: &Stored, clones: &Clones<'_>) -> Result<Vec<Cloned>> {
        if stored.checkpoint.disk == Disk::WithContainer {
            return Err(disk_elsewhere(&stored.checkpoint));
        }
        let names = self.names_of(&stored.checkpoint, clones)?;
        let checked = stored.check(self, clones.wish)?;
        let usual = getrlimit(Resource::Nofile);
        // For all of them: each thread would lower it for the others when it is done.
        let _limit = stasis_engine::raise_own_limit();
        let queue: Mutex<VecDeque<(usize, String)>> =
            Mutex::new(names.into_iter().enumerate().collect());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let work = || {
            let mut done = Vec::new();
            while let Some((index, name)) = next() {
                let outcome = self.clone_one(&checked, &name, clones);
                if let Ok((container, _)) = &outcome {
                    container.limit_monitor(&usual);
                }
                done.push((index, Cloned { name, outcome }));
            }
            done
        };
        let nr_workers = available_parallelism().map_or(1, usize::from).min(clones.count);
        let mut done = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..nr_workers).map(|_| scope.spawn(work)).collect();
            let results = workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            results.flatten().collect::<Vec<_>>()
        });
        done.sort_by_key(|(index, _)| *index);
        Ok(done.into_iter().map(|(_, cloned)| cloned).collect())
    }

    fn clone_one(
        &self,
        checked: &Checked<'_>,
        name: &str,
        clones: &Clones<'_>,
    ) -> Result<(Container, Report)> {
        let publish = any_ports(checked.stored());
        let remake = Remake {
            name: Some(name),
            hostname: (clones.hostnames == Hostnames::Own).then_some(name),
            publish: Some(&publish),
            left_out: clones.wish.left_out,
            ..Remake::default()
        };
        let Remade { container, stored } = self.remake(checked.stored(), &remake)?;
        let restored = checked
            .fitted(&stored)
            .and_then(|fitted| container.begin_checked_restore(&fitted))
            .and_then(super::Restoring::finish);
        match restored {
            Ok(report) => Ok((container, report)),
            Err(error) => {
                container.remove(Removal::Kill, VolumesOf::Remove)?;
                Err(error)
            }
        }
    }

    /// Free names, as many as there shall be clones.
    fn names_of(&self, checkpoint: &Checkpoint, clones: &Clones<'_>) -> Result<Vec<String>> {
        if clones.count == 0 || clones.count > MAX_CLONES {
            return Err(Error::invalid(format!("there can be 1 to {MAX_CLONES} clones")));
        }
        let prefix = clones.prefix.unwrap_or(&checkpoint.container.name);
        name::check_name("container", prefix)?;
        if clones.count == 1
            && let Some(name) = clones.prefix
        {
            return Ok(vec![name.to_owned()]);
        }
        let taken: Vec<String> = self.list()?.into_iter().map(|one| one.config.name).collect();
        let names = (1..).map(|number| format!("{prefix}{number}"));
        Ok(names.filter(|name| !taken.contains(name)).take(clones.count).collect())
    }
}

/// Ports of the host that the original has cannot be had twice.
fn any_ports(stored: &Stored) -> Vec<stasis_network::Publish> {
    let mut publish = stored.checkpoint.container.network_options.publish.clone();
    publish.iter_mut().for_each(|wish| wish.host_ports = None);
    publish
}
