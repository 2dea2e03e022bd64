//! Containers that have come and are not yet ours to keep.
//!
//! A mark beside the containers says whose process is taking one in. It is there before the container is
//! and goes when the other end has given it away. A mark whose process is gone tells the next command
//! what to clear up.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Context, Result},
    home::Home,
    lifecycle::{Removal, VolumesOf},
    process::ProcessId,
    record,
    store::Store,
};

const PREFIX: &str = ".arriving-";

#[derive(Debug, Serialize, Deserialize)]
struct Arrival {
    receiver: Option<ProcessId>,
    /// That were not there before.
    volumes: Vec<String>,
}

/// Says that a container of this id is about to come, and brings these volumes.
pub(crate) fn mark(home: &Home, id: &str, volumes: &[String]) -> Result<()> {
    let receiver = ProcessId::probe(std::process::id().cast_signed());
    record::make_private_dir(&home.containers())?;
    record::write(&path(home, id), &Arrival { receiver, volumes: volumes.to_vec() })
}

/// It stays.
pub(super) fn settle(home: &Home, id: &str) -> Result<()> {
    let path = path(home, id);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.context("remove", path.display())?,
    }
    record::sync_dir(&home.containers())
}

fn path(home: &Home, id: &str) -> PathBuf {
    home.containers().join(format!("{PREFIX}{id}"))
}

impl Store {
    /// Takes away what came with receivers that were killed.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn sweep_arrivals(&self) -> Result<()> {
        let entries = fs::read_dir(self.home().containers()).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(id) = name.strip_prefix(PREFIX) {
                self.sweep_arrival(id, &entry.path())?;
            }
        }
        Ok(())
    }

    fn sweep_arrival(&self, id: &str, path: &Path) -> Result<()> {
        // It may go while we look.
        let Ok(arrival) = record::read::<Arrival>(path) else { return Ok(()) };
        match arrival.receiver.is_some_and(|receiver| receiver.is_alive()) {
            true => Ok(()),
            false => self.undo(id, &arrival.volumes),
        }
    }

    /// Takes away what has come of a container, whatever that is.
    pub(super) fn undo_arrivals_of_mine(&self) -> Result<()> {
        let me = ProcessId::probe(std::process::id().cast_signed());
        let entries = fs::read_dir(self.home().containers()).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_prefix(PREFIX) else { continue };
            let Ok(arrival) = record::read::<Arrival>(&entry.path()) else { continue };
            if arrival.receiver == me {
                self.undo(id, &arrival.volumes)?;
            }
        }
        Ok(())
    }

    fn undo(&self, id: &str, volumes: &[String]) -> Result<()> {
        if let Ok(container) = self.open(id) {
            container.remove(Removal::Kill, VolumesOf::Remove)?;
        }
        for name in volumes {
            match self.volumes().remove(name) {
                Err(crate::Error::NoSuchVolume(_)) => {}
                removed => removed?,
            }
        }
        settle(self.home(), id)
    }
}
