//! Volumes with options: what they name is mounted at `_data` by the first container that starts, and
//! taken away after the last one.

use std::collections::BTreeMap;

use stasis_enclosure::mount::{self, FileSystem};

use super::{Volume, Volumes};
use crate::{
    config::Mount,
    error::{Error, Result},
    store::{Container, Store},
};

/// Refuses options that no volume of the driver `local` can have.
///
/// # Errors
/// [`Error::Invalid`] naming it.
pub(super) fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    if let Some(key) = options.keys().find(|key| !["type", "device", "o"].contains(&key.as_str())) {
        return Err(Error::invalid(format!(
            "a volume has no option {key:?}: use type, device and o, as mount takes them"
        )));
    }
    if !options.is_empty() && !options.contains_key("device") {
        return Err(Error::invalid("a volume with options needs the option device"));
    }
    Ok(())
}

/// Was the volume in place already?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Mounted,
    Unmounted,
}

/// Puts in place what a volume's options name; who calls holds the volume's lock.
pub(super) fn mount(volumes: &Volumes, volume: &Volume) -> Result<Before> {
    let data = volumes.mountpoint(&volume.name);
    if mount::is_mounted(&data)? {
        return Ok(Before::Mounted);
    }
    let option = |key: &str| volume.options.get(key).cloned().unwrap_or_default();
    let file_system =
        FileSystem { kind: option("type"), device: option("device"), options: option("o") };
    file_system.mount_at(&data)?;
    Ok(Before::Unmounted)
}

/// Would its contents be lost with its mount?
pub(super) fn is_in_memory(volume: &Volume) -> bool {
    volume.options.get("type").is_some_and(|kind| kind == "tmpfs" || kind == "ramfs")
}

/// Puts the volumes of a container in place that is about to start.
///
/// # Errors
/// [`Error::NoSuchVolume`] if one was removed by hand, or what the kernel says.
pub(crate) fn mount_volumes(container: &Container) -> Result<()> {
    let volumes = Volumes::new(container.home.clone());
    for source in container.config.mounts.iter().filter_map(Mount::volume) {
        let volume = volumes.find(&source.name)?;
        if !volume.options.is_empty() {
            let _lock = volumes.lock_of(&volume.name)?;
            mount(&volumes, &volume)?;
        }
    }
    Ok(())
}

/// Takes the volumes away that no container uses any more, now that this one does not run.
///
/// # Errors
/// [`Error::Enclosure`] by the kernel.
pub(crate) fn unmount_volumes(container: &Container) -> Result<()> {
    let volumes = Volumes::new(container.home.clone());
    for source in container.config.mounts.iter().filter_map(Mount::volume) {
        let Ok(volume) = volumes.find(&source.name) else { continue };
        if volume.options.is_empty() {
            continue;
        }
        let _lock = volumes.lock_of(&volume.name)?;
        if !others_run(container, &volume.name)? {
            mount::unmount_all(&volumes.mountpoint(&volume.name))?;
        }
    }
    Ok(())
}

fn others_run(container: &Container, volume: &str) -> Result<bool> {
    let others = Store::new(container.home.clone()).list()?;
    Ok(others
        .iter()
        .filter(|other| other.config.id != container.config.id)
        .filter(|other| other.config.mounts.iter().any(|mount| mount.is_of_volume(volume)))
        // A monitor is there before anything is mounted.
        .any(|other| other.state().is_ok_and(|state| state.status.is_up() || state.is_watched())))
}
