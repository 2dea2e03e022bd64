//! The root file system of a container: what it is made of, and how it is mounted.
//!
//! An overlay has, from its top: the container's own changes, a layer with the mount points that every
//! container needs, and what the container was made from. So mount points that were made for us are
//! no changes of the container. Where a container stands on a directory of the host that holds the
//! engine's own files, they are.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use stasis_enclosure::{
    mount,
    overlay::{Overlay, Upper},
};
use stasis_oci::Digest;
use stasis_store::Silent;

use crate::{
    config::{Config, Rootfs, RootfsAccess},
    error::{Context, Result},
    home::{Home, Place},
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
/// [`crate::Error::Refused`] if the directory is not there, [`crate::Error::Images`] if the image is
/// not.
pub(crate) fn origin(config: &Config, home: &Home) -> Result<Origin> {
    let lower = match &config.rootfs {
        Rootfs::Directory { dir, .. } => vec![dir.clone()],
        Rootfs::Image { image, .. } => image_layers(image, home)?,
    };
    Ok(Origin { root: open_as_one(lower)? })
}

/// What lies below the container's own changes; None if there is nothing.
///
/// # Errors
/// As [`mount`].
pub(crate) fn below(container: &Container) -> Result<Option<OwnedFd>> {
    match composition(container)? {
        Composition::Directory(dir) => Ok(Some(inside::open_root(&dir)?)),
        Composition::Overlay(overlay) => open_as_one(overlay.lower),
    }
}

fn open_as_one(lower: Vec<PathBuf>) -> Result<Option<OwnedFd>> {
    Ok(match lower.as_slice() {
        [] => None,
        [only] => Some(inside::open_root(only)?),
        _ => Some(Overlay { lower, upper: None }.mount()?),
    })
}

/// The lower directories of an image, the topmost first.
fn image_layers(id: &Digest, home: &Home) -> Result<Vec<PathBuf>> {
    let images = home.images();
    Ok(images.lower_dirs(&images.find_id(id)?, &mut Silent)?)
}

/// What lies below a container's own changes, the topmost first; nothing if it has none of its own.
///
/// # Errors
/// [`crate::Error::Images`] if the image is not there.
pub(crate) fn lower_dirs(container: &Container) -> Result<Vec<PathBuf>> {
    match &container.config.rootfs {
        Rootfs::Directory { access: RootfsAccess::Direct, .. } => Ok(Vec::new()),
        Rootfs::Directory { dir, access: RootfsAccess::Overlay } => Ok(vec![dir.clone()]),
        Rootfs::Image { image, .. } => image_layers(image, &container.home),
    }
}

/// Where the root file system is on the host; an overlay is mounted.
///
/// # Errors
/// [`crate::Error::Enclosure`] by the kernel, [`crate::Error::Images`] if the image is not there.
pub(crate) fn mount(container: &Container) -> Result<PathBuf> {
    if let Rootfs::Directory { dir, access: RootfsAccess::Direct } = &container.config.rootfs {
        return Ok(dir.clone());
    }
    mount_at(container, &container.place.merged())?;
    Ok(container.place.merged())
}

/// Mounts the root file system at a place of the caller, who keeps the container from being started
/// meanwhile.
///
/// # Errors
/// As [`mount`].
pub(crate) fn mount_at(container: &Container, target: &Path) -> Result<()> {
    match composition(container)? {
        Composition::Overlay(overlay) => Ok(overlay.mount_at(target)?),
        Composition::Directory(dir) => {
            rustix::mount::mount_bind_recursive(&dir, target).context("mount", dir.display())
        }
    }
}

/// The root file system as it is now, without what is mounted in it. Who calls keeps the container
/// from being started meanwhile.
///
/// # Errors
/// As [`mount`].
pub(crate) fn open(container: &Container) -> Result<OwnedFd> {
    let merged = container.place.merged();
    match composition(container)? {
        Composition::Directory(dir) => inside::open_root(&dir),
        Composition::Overlay(_) if mount::is_mounted(&merged)? => inside::open_root(&merged),
        Composition::Overlay(overlay) => Ok(overlay.mount()?),
    }
}

/// What a root file system consists of.
enum Composition {
    Directory(PathBuf),
    Overlay(Overlay),
}

fn composition(container: &Container) -> Result<Composition> {
    let place = &container.place;
    if let Rootfs::Directory { dir, access: RootfsAccess::Direct } = &container.config.rootfs {
        return Ok(Composition::Directory(dir.clone()));
    }
    let lower = with_mount_points(place, lower_dirs(container)?)?;
    let upper = Some(Upper { dir: place.upper(), work: place.work() });
    Ok(Composition::Overlay(Overlay { lower, upper }))
}

/// No layer may lie inside another one, as ours do in the host's own root.
fn with_mount_points(place: &Place, mut lower: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    if lower.iter().any(|dir| place.dir.starts_with(dir)) {
        return Ok(lower);
    }
    make_mount_points(place, &lower)?;
    lower.insert(0, place.mount_points());
    Ok(lower)
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
    let root = if lower.is_empty() {
        fs::create_dir(&half_made).context("make directory", half_made.display())?;
        inside::open_root(&half_made)?
    } else {
        let upper = Upper { dir: half_made.clone(), work: work.clone() };
        Overlay { lower: lower.to_vec(), upper: Some(upper) }.mount()?
    };
    DIRECTORIES.iter().try_for_each(|path| inside::make_dirs(&root, Path::new(path)))?;
    FILES.iter().try_for_each(|path| inside::make_file(&root, Path::new(path)))?;
    drop(root);
    record::remove_tree(&work)?;
    fs::rename(&half_made, &layer).context("make", layer.display())
}
