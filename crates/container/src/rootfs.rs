//! The root file system of a container: what it is made of, and how it is mounted.
//!
//! An overlay has, from its top: the container's own changes, a layer with the mount points that every
//! container needs, and what the container was made from. So mount points that were made for us are
//! no changes of the container. Where a container stands on a directory of the host that holds the
//! engine's own files, they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use stasis_enclosure::overlay::{Overlay, Renames, Upper};

use crate::{
    config::{Config, RootfsAccess},
    error::{Context, Result},
    home::Place,
    inside, record,
    store::Container,
    volume::Origin,
};

/// Directories that are mounted on in every container.
const DIRECTORIES: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Files that are mounted on in every container.
const FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Opens what new volumes are filled from.
///
/// # Errors
/// [`crate::Error::Refused`] if it is not there.
pub(crate) fn origin(config: &Config) -> Result<Origin> {
    Ok(Origin { root: inside::open_root(&config.rootfs.dir)? })
}

/// Where the root file system is on the host; an overlay is mounted.
///
/// # Errors
/// [`crate::Error::Enclosure`] by the kernel.
pub(crate) fn mount(container: &Container) -> Result<PathBuf> {
    let (rootfs, place) = (&container.config.rootfs, &container.place);
    match rootfs.access {
        RootfsAccess::Direct => Ok(rootfs.dir.clone()),
        RootfsAccess::Overlay => {
            let mut lower = vec![rootfs.dir.clone()];
            // No layer may lie inside another one, as ours do in the host's own root.
            if !place.dir.starts_with(&rootfs.dir) {
                make_mount_points(place, &lower)?;
                lower.insert(0, place.mount_points());
            }
            let renames = Renames::Redirected;
            let upper = Upper { dir: place.upper(), work: place.work(), renames };
            Overlay { lower, upper: Some(upper) }.mount_at(&place.merged())?;
            Ok(place.merged())
        }
    }
}

/// Once for each container; what is there already is not made.
fn make_mount_points(place: &Place, lower: &[PathBuf]) -> Result<()> {
    let (layer, half_made) = (place.mount_points(), place.dir.join("mount-points.new"));
    if layer.exists() {
        return Ok(());
    }
    let work = place.dir.join("mount-points.work");
    record::remove_tree(&half_made)?;
    record::remove_tree(&work)?;
    let upper = Upper { dir: half_made.clone(), work: work.clone(), renames: Renames::Refused };
    let root = Overlay { lower: lower.to_vec(), upper: Some(upper) }.mount()?;
    DIRECTORIES.iter().try_for_each(|path| inside::make_dirs(&root, Path::new(path)))?;
    FILES.iter().try_for_each(|path| inside::make_file(&root, Path::new(path)))?;
    drop(root);
    record::remove_tree(&work)?;
    fs::rename(&half_made, &layer).context("make", layer.display())
}
