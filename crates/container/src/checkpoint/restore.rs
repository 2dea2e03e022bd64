//! From a checkpoint to the running container.
//!
//! The container is made as for `run`, but with a blank as its init, which the engine fills. The old
//! changes of the root file system are kept until the tasks run, and come back if that fails.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, ErrorKind, Read},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{WaitOptions, wait};
use stasis_enclosure::tar;
use stasis_engine::{
    CpuCheck, InheritedFds, Keeping, NetworkLock, Pages, Parents, Report, RestoreOptions,
    RestoreRoot, ThawedConnections,
};

use super::{
    Checkpoint, Disk, Held, LeftOut, Maker, Stored, Wish,
    create::{open_inside, relative},
    disk_elsewhere,
    layout::{DELETED, DESCRIPTORS, IMAGES, ROOTFS_DIFF, STDIN, tmpfs_file},
    manifest,
};
use crate::{
    attach::Session,
    config::Network,
    connection_lock::{Momentary, MonitorsLock},
    error::{Context, Error, Result},
    frame::{Frame, MAX_PAYLOAD_BYTES},
    inside,
    lifecycle::Starting,
    monitor::protocol::{Mode, Order},
    process::ProcessId,
    record::{self, Lock},
    rootfs,
    store::{Container, Store},
    wait::{WAIT_FOR_ALL_KINDS, wait_readable},
    wire,
};

const COPY_BYTES: usize = 1 << 20;
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// `__WNOTHREAD` (waitpid(2)): other threads may be restoring other containers.
const WAIT_FOR_OWN_THREAD: u32 = 0x2000_0000;
const REAP_PERIOD: Duration = Duration::from_millis(5);

/// A checkpoint that was verified, with its contents built beside those of the container.
pub(super) struct Prepared {
    stored: Stored,
    pages: Pages,
    keeping: Keeping,
    held: Held,
}

/// A container made for a checkpoint, whose init waits to be filled.
pub struct Restoring<'a> {
    container: &'a Container,
    path: PathBuf,
    parents: Parents,
    starting: Starting,
    pages: Pages,
    keeping: Keeping,
    /// Where the run lies frozen that this one takes the place of.
    abandoned: Option<PathBuf>,
    /// Nobody removes the checkpoint meanwhile.
    _held: Held,
}

/// A checkpoint that is as it was written, and fits this host.
pub(super) struct Checked<'a> {
    stored: &'a Stored,
    wish: Wish,
    /// Nobody removes it meanwhile.
    _held: Held,
}

impl Stored {
    /// Looks at this host alone: every byte was looked at as it came.
    pub(super) fn check_host(&self, store: &Store, wish: Wish) -> Result<Checked<'_>> {
        let held = self.hold()?;
        let obstacles = store.obstacles_here(self, wish.cpu)?;
        if obstacles.is_empty() {
            return Ok(Checked { stored: self, wish, _held: held });
        }
        Err(stasis_engine::Error::NotHere(obstacles).into())
    }

    /// Looks at every byte, and at this host.
    pub(super) fn check(&self, store: &Store, wish: Wish) -> Result<Checked<'_>> {
        let _held = self.hold()?;
        manifest::verify(&self.dir)?;
        self.check_host(store, wish)
    }
}

impl Checked<'_> {
    pub(super) fn stored(&self) -> &Stored {
        self.stored
    }

    /// The same files, as they fit a container that was made for them.
    pub(super) fn fitted<'a>(&self, stored: &'a Stored) -> Result<Checked<'a>> {
        Ok(Checked { stored, wish: self.wish, _held: stored.hold()? })
    }
}

impl Container {
    /// Verifies a checkpoint and makes the container for it.
    ///
    /// # Errors
    /// [`Error::Engine`] if this host is not fit for it,
    /// [`Error::Damaged`] if a file of the checkpoint is not as it was written, [`Error::WrongState`]
    /// if the container runs. The container is as it was.
    pub fn begin_restore(&self, stored: &Stored, wish: Wish) -> Result<Restoring<'_>> {
        self.begin_checked_restore(&stored.check(&Store::new(self.home.clone()), wish)?)
    }

    /// As [`Container::begin_restore`], when every byte was looked at as it came.
    ///
    /// # Errors
    /// As [`Container::begin_restore`].
    pub(crate) fn begin_verified_restore(
        &self,
        stored: &Stored,
        wish: Wish,
    ) -> Result<Restoring<'_>> {
        self.begin_checked_restore(&stored.check_host(&Store::new(self.home.clone()), wish)?)
    }

    /// As [`Container::begin_restore`], when the checkpoint was looked at already.
    pub(super) fn begin_checked_restore(&self, checked: &Checked<'_>) -> Result<Restoring<'_>> {
        let lock = self.command_lock()?;
        if self.state()?.status.is_up() {
            return Err(self.wrong_state(
                "is already running: stop it before going back to a checkpoint, or use rewind",
            ));
        }
        let prepared = self.prepare(checked)?;
        self.begin_prepared(lock, prepared)
    }

    /// Does all that can be done while the container still runs, for who has its command lock.
    pub(super) fn prepare(&self, checked: &Checked<'_>) -> Result<Prepared> {
        let Checked { stored, wish, .. } = checked;
        self.refuse_foreign(&stored.checkpoint)?;
        let held = stored.hold()?;
        let Wish { pages, keeping, .. } = *wish;
        let prepared = Prepared { stored: (*stored).clone(), pages, keeping, held };
        match self.build_disk(stored, wish.left_out) {
            Ok(()) => Ok(prepared),
            Err(error) => {
                self.clear_built()?;
                Err(error)
            }
        }
    }

    pub(super) fn begin_prepared(&self, lock: Lock, prepared: Prepared) -> Result<Restoring<'_>> {
        let Prepared { stored, pages, keeping, held } = prepared;
        let checkpoint = &stored.checkpoint;
        let abandoned = self.frozen_elsewhere(&stored)?;
        let mode =
            Mode::Restore { checkpoint: stored.origin(), endpoints: checkpoint.endpoints.clone() };
        let begun = self.begin_with(lock, mode, || self.swap_disk(&stored));
        if begun.is_err() {
            self.clear_built()?;
        }
        let restoring = Restoring {
            container: self,
            path: stored.dir.clone(),
            parents: stored.parents(),
            starting: begun?,
            pages,
            keeping,
            abandoned,
            _held: held,
        };
        match restoring.bring_back_memory_files(checkpoint) {
            Ok(()) => Ok(restoring),
            Err(error) => Err(restoring.undo(error)),
        }
    }

    /// The files of the checkpoint in which the container lies, if that is another one.
    fn frozen_elsewhere(&self, stored: &Stored) -> Result<Option<PathBuf>> {
        let frozen = self.state()?.frozen;
        let other = frozen.filter(|frozen| frozen.checkpoint.id != stored.checkpoint.id);
        Ok(other.map(|frozen| frozen.dir.join(IMAGES)).filter(|images| images.exists()))
    }

    /// What the checkpoint was taken of must be what we make now.
    fn refuse_foreign(&self, checkpoint: &Checkpoint) -> Result<()> {
        if checkpoint.disk == Disk::WithContainer && !self.is_as_saved(checkpoint)? {
            return Err(disk_elsewhere(checkpoint));
        }
        let (ours, theirs) = (&self.config, &checkpoint.container);
        let differs = if ours.tty != theirs.tty {
            Some("one has a terminal and the other has not")
        } else if ours.stdin_open != theirs.stdin_open {
            Some("one has an open standard input and the other has not")
        } else if ours.rootfs != theirs.rootfs {
            Some("their root file systems differ")
        } else if ours.mounts != theirs.mounts {
            Some("their mounts differ")
        } else if ours.network != theirs.network {
            Some("their networks differ")
        } else {
            None
        };
        match differs {
            None => Ok(()),
            Some(reason) => Err(Error::invalid(format!(
                "checkpoint {} was taken of container {} and does not fit container {}: {reason}",
                checkpoint.name, theirs.name, ours.name
            ))),
        }
    }

    /// Is the disk that of the checkpoint still?
    fn is_as_saved(&self, checkpoint: &Checkpoint) -> Result<bool> {
        let state = self.state()?;
        let saved = state.saved.and_then(|saved| saved.checkpoint);
        let is_saved = saved.as_ref() == Some(&checkpoint.name);
        let lies_in_it = state.frozen.is_some_and(|frozen| frozen.checkpoint.id == checkpoint.id);
        Ok(self.config.id == checkpoint.container.id && (is_saved || lies_in_it))
    }

    /// Builds the contents of the checkpoint beside the present ones.
    fn build_disk(&self, stored: &Stored, left_out: LeftOut) -> Result<()> {
        self.clear_built()?;
        if !left_out.rootfs {
            self.build_rootfs(stored)?;
        }
        if left_out.volumes { Ok(()) } else { self.build_volumes(stored) }
    }

    /// What was built and not put in its place.
    pub(super) fn clear_built(&self) -> Result<()> {
        record::remove_tree(&self.place.upper_new())?;
        self.clear_built_volumes()
    }

    /// Puts what was built in the place of the present contents, which are kept beside.
    fn swap_disk(&self, stored: &Stored) -> Result<()> {
        self.refuse_shared(stored)?;
        if self.place.upper_new().exists() {
            let upper = self.place.upper();
            fs::create_dir_all(&upper).context("make directory", upper.display())?;
            rename(&upper, &self.place.upper_before())?;
            rename(&self.place.upper_new(), &upper)?;
        }
        self.swap_volumes()
    }

    fn build_rootfs(&self, stored: &Stored) -> Result<()> {
        let archive = stored.dir.join(ROOTFS_DIFF);
        if !self.config.rootfs.is_layered() || !archive.exists() {
            return Ok(());
        }
        let fresh = self.place.upper_new();
        fs::create_dir(&fresh).context("make directory", fresh.display())?;
        match stored.checkpoint.made_by {
            Maker::Stasis => unpack(&archive, &fresh),
            Maker::Podman => self.unpack_podmans(&stored.dir, &fresh),
        }
    }

    /// Directories of which nothing is told are as below, and what was removed stands in a list.
    fn unpack_podmans(&self, path: &Path, fresh: &Path) -> Result<()> {
        let below: Vec<PathBuf> = rootfs::lower_dirs(self)?.into_iter().rev().collect();
        let layer = tar::Layer { below: &below, max_members: u64::MAX };
        let archive = path.join(ROOTFS_DIFF);
        let mut input = BufReader::with_capacity(COPY_BYTES, open(&archive)?);
        tar::unpack_layer(&mut input, fresh, layer)?;
        // Of the root itself nothing is told; this is what Podman's storage gives it.
        let mode = fs::Permissions::from_mode(0o555);
        fs::set_permissions(fresh, mode).context("change the mode of", fresh.display())?;
        let list = path.join(DELETED);
        if !list.exists() {
            return Ok(());
        }
        let whiteouts = whiteouts(&record::read::<Vec<PathBuf>>(&list)?)?;
        tar::unpack_layer(&mut whiteouts.as_slice(), fresh, layer)?;
        Ok(())
    }

    /// Takes what an unfinished restore changed on disk back; no restore, nothing to do.
    pub(crate) fn undo_disk(&self) -> Result<()> {
        self.undo_volumes()?;
        self.undo_rootfs()
    }

    fn undo_rootfs(&self) -> Result<()> {
        let before = self.place.upper_before();
        if !before.exists() {
            return Ok(());
        }
        record::remove_tree(&self.place.upper())?;
        rename(&before, &self.place.upper())
    }

    /// From here on the changes of the checkpoint are the container's own.
    fn keep_rootfs(&self) -> Result<()> {
        let (before, gone) = (self.place.upper_before(), self.place.dir.join("upper.gone"));
        if !before.exists() {
            return Ok(());
        }
        record::remove_tree(&gone)?;
        rename(&before, &gone)?;
        record::remove_tree(&gone)
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).context("rename", from.display())
}

/// A layer that removes these paths (OCI image-spec, "Whiteouts").
fn whiteouts(paths: &[PathBuf]) -> Result<Vec<u8>> {
    let mut writer = tar::Writer::new(Vec::new());
    for path in paths {
        let inner = relative(path);
        let Some(name) = inner.file_name() else { continue };
        let marker = inner.with_file_name(format!(".wh.{}", name.to_string_lossy()));
        writer.file(&marker.to_string_lossy(), 0, &mut std::io::empty())?;
    }
    Ok(writer.finish()?)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).context("open", path.display())
}

pub(super) fn unpack(archive: &Path, target: &Path) -> Result<()> {
    let mut input = BufReader::with_capacity(COPY_BYTES, open(archive)?);
    Ok(tar::unpack(&mut input, target)?)
}

impl Restoring<'_> {
    /// Fills init with the tasks of the checkpoint and lets them run.
    ///
    /// # Errors
    /// What stood in the way; the container has stopped again and its changes are those from before.
    pub fn finish(self) -> Result<Report> {
        match self.fill() {
            Ok(report) => Ok(report),
            Err(error) => Err(self.undo(error)),
        }
    }

    fn fill(&self) -> Result<Report> {
        let control = &self.starting.control;
        let mut release = || {
            wire::send(control, &Order::Release)
                .map_err(|error| std::io::Error::other(error.to_string()))
        };
        let monitors = MonitorsLock { control };
        // In its networks the container can be reached already, but for the monitor's lock.
        let lock: &dyn NetworkLock = match self.container.config.network {
            Network::Named(_) => &monitors,
            Network::None | Network::Host | Network::Container(_) => &Momentary,
        };
        let restored = stasis_engine::restore(RestoreOptions {
            images_dir: self.path.join(IMAGES),
            parents: self.parents.clone(),
            root: RestoreRoot::Waiting { pid: self.starting.pid, release: &mut release },
            shell_job: false,
            // Compared before anything was made.
            cpu: CpuCheck::None,
            pages: self.pages,
            inherited: self.inherited()?,
            connections: ThawedConnections::Kept(self.keeping, lock),
            abandoned: self.abandoned.clone(),
        })?;
        self.container.keep_rootfs()?;
        self.container.keep_volumes()?;
        wire::send(control, &Order::Commit)?;
        self.starting.started()?;
        Ok(restored.report)
    }

    /// Streams of the checkpoint that the host holds, and where the blank has their successors.
    fn inherited(&self) -> Result<InheritedFds> {
        let old: Vec<String> = record::read(&self.path.join(DESCRIPTORS))?;
        let mut inherited = BTreeMap::new();
        for (fd, key) in (0..3).zip(old) {
            if key.starts_with("pipe:") || self.container.config.tty {
                inherited.entry(key).or_insert(fd);
            }
        }
        Ok(inherited)
    }

    /// File systems in memory, and what lay unread in standard input.
    fn bring_back_memory_files(&self, checkpoint: &Checkpoint) -> Result<()> {
        let root = PathBuf::from(format!("/proc/{}/root", self.starting.pid));
        for (index, target) in checkpoint.tmpfs.iter().enumerate() {
            let mounted = open_inside(&root, target)?;
            let archive = self.path.join(tmpfs_file(index, target));
            unpack(&archive, &inside::path_of(&mounted))?;
        }
        let unread = match File::open(self.path.join(STDIN)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.context("open", STDIN)?,
        };
        let mut bytes = Vec::new();
        let most = COPY_BYTES as u64;
        unread.take(most).read_to_end(&mut bytes).context("read", STDIN)?;
        let mut session = Session::connect(self.container)?;
        for chunk in bytes.chunks(MAX_PAYLOAD_BYTES) {
            session.send(&Frame::Input(chunk.to_vec()))?;
        }
        // Answered after the input was taken.
        session.ask(&Frame::Hello)
    }

    /// The monitor kills init when nobody is left to command it.
    fn undo(self, error: Error) -> Error {
        let Restoring { container, starting, .. } = self;
        let monitor = container.state().ok().and_then(|state| state.monitor);
        let Starting { control, lock, .. } = starting;
        drop(control);
        if let Some(monitor) = monitor.as_ref().and_then(ProcessId::open) {
            wait_while_reaping(&monitor);
        }
        let undone = container.undo_disk();
        drop(lock);
        match undone {
            Ok(()) => error,
            Err(undo) => Error::invalid(format!("{error}; and then: {undo}")),
        }
    }
}

/// Waits for the end of the monitor, which waits for the end of init, which waits for everybody else in
/// its pid namespace; and an end is told to a parent only after the tracer, which we may still be, has
/// taken note of it (ptrace(2)), in whatever process group that is.
fn wait_while_reaping(monitor: &OwnedFd) {
    let kinds = WAIT_FOR_ALL_KINDS | WAIT_FOR_OWN_THREAD;
    let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(kinds);
    let deadline = Instant::now() + KILL_TIMEOUT;
    while Instant::now() < deadline {
        while let Ok(Some(_)) = wait(options) {}
        match wait_readable(monitor, Some(REAP_PERIOD)) {
            Ok(false) => {}
            Ok(true) | Err(_) => return,
        }
    }
}
