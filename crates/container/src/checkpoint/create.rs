//! From a running container to a checkpoint.

use std::{
    fs::{self, File},
    io::{BufWriter, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::{
    fs::OFlags,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, tee},
};
use stasis_enclosure::tar;
use stasis_engine::{CheckpointOptions, Externals, FrozenConnections};
use stasis_model::{Loss, NamespaceKind};

use super::{
    Checkpoint, Disk, Existing, Fate, Host, LeftOut, Made, Maker, Stored, VERSION, Wanted,
    layout::{
        CONFIG, DELETED, DESCRIPTORS, IMAGES, ROOTFS_DIFF, SHM_TARGET, SPEC_DUMP, STDIN, tmpfs_file,
    },
    manifest,
    pre_checkpoint::Before,
    rounds::{MemoryWritten, Rounds},
    stage::Stage,
};
use crate::{
    attach::Session,
    bundle,
    config::{MountKind, Network},
    connection_lock::Momentary,
    error::{Context, Error, Result},
    frame::Frame,
    inside,
    keeper::Keepers,
    lifecycle::KILL_TIMEOUT,
    name, networking, process, record, rootfs, spec,
    state::{Frozen, State, Status},
    store::Container,
};

const COPY_BYTES: usize = 1 << 20;
const LOG_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// What is left out, how long the log was, and what is not preserved.
type Told<'a> = (LeftOut, u64, &'a [String]);

impl Container {
    /// Freezes the container to disk.
    ///
    /// # Errors
    /// Whatever stands in the way; then the container runs on and nothing is left on disk.
    pub fn checkpoint(&self, wanted: &Wanted<'_>) -> Result<Made> {
        name::check_name("checkpoint", wanted.name)?;
        let _lock = self.command_lock()?;
        self.checkpoint_locked(wanted)
    }

    /// For who has the container's command lock.
    pub(super) fn checkpoint_locked(&self, wanted: &Wanted<'_>) -> Result<Made> {
        let Wanted { name, dir, fate, .. } = *wanted;
        let _no_probe = self.probe_lock()?;
        let state = self.state()?;
        self.refuse_unfit(&state)?;
        if wanted.existing == Existing::Refuse && self.has_checkpoint(name, dir)? {
            let container = &self.config.name;
            return Err(Error::invalid(format!(
                "container {container} already has a checkpoint {name}: remove it or choose another \
                 name"
            )));
        }
        let init = state.init.as_ref().map_or(0, |init| init.pid);
        let tracking = Keepers::new(&self.home).take(init)?;
        let before = match wanted.memory {
            MemoryWritten::All => {
                // A tree is not frozen while somebody watches it.
                drop(tracking);
                None
            }
            MemoryWritten::SinceThePreCheckpoint => self.before(tracking)?,
        };
        let stage = self.stage(name, dir)?;
        // The monitor thaws the container if we die from here on.
        let mut session = Session::connect(self)?;
        session.ask(&Frame::Hold)?;
        if fate == Fate::Stop {
            networking::rest(self)?;
            self.update(|state| state.stop_requested = true)?;
        }
        let frozen = self.freeze_to(stage, wanted, (&state, before), &mut session);
        // What was noted since has been read: nothing can build upon it any more.
        record::remove_tree(&self.pre_checkpoint_dir())?;
        if frozen.is_err() && fate == Fate::Stop {
            // The failure that led here is the one to tell.
            let _ = self.update(|now| now.stop_requested = state.stop_requested);
            let _ = networking::wake(self);
        }
        let made = frozen?;
        match fate {
            Fate::Stop => self.wait_down(&state, KILL_TIMEOUT)?,
            Fate::LeaveRunning => {
                self.update(|state| state.came_from = Some(made.stored.origin()))?;
            }
        }
        // Not before the container has stopped: to the monitor it would look as if we had died.
        drop(session);
        if dir.is_none() && wanted.existing == Existing::Replace {
            self.own_checkpoints().remove_replaced(&made.stored)?;
        }
        Ok(made)
    }

    /// Written down before the tasks lose their lives: afterwards nobody could do so in time.
    fn note_frozen(&self, stored: &Stored) -> Result<()> {
        let frozen = Frozen {
            checkpoint: stored.origin(),
            at: stored.checkpoint.created,
            dir: stored.dir.clone(),
        };
        self.update(|state| state.frozen = Some(frozen))
    }

    fn has_checkpoint(&self, name: &str, dir: Option<&Path>) -> Result<bool> {
        match dir {
            Some(dir) => Ok(dir.join(name).exists()),
            None => {
                let own = self.checkpoints(None)?;
                Ok(own.iter().any(|stored| stored.checkpoint.name == name))
            }
        }
    }

    pub(super) fn stage(&self, name: &str, dir: Option<&Path>) -> Result<Stage> {
        match dir {
            None => Stage::new(&self.home),
            Some(parent) => Stage::within(parent, name),
        }
    }

    pub(crate) fn refuse_unfit(&self, state: &State) -> Result<()> {
        match state.status {
            Status::Running => {}
            Status::Paused => {
                return Err(self.wrong_state("is paused: unpause it before the checkpoint"));
            }
            _ => return Err(self.wrong_state("is not running")),
        }
        if !state.is_watched() {
            let reason = "has lost its monitor, and with it its standard streams: restart it first";
            return Err(self.wrong_state(reason));
        }
        if let Network::Container(id) = &self.config.network {
            let whose = id.get(..12).unwrap_or(id);
            let reason = format!(
                "shares the network of container {whose}, which a checkpoint cannot hold yet"
            );
            return Err(self.wrong_state(reason));
        }
        self.refuse_strangers(state)
    }

    /// Sessions of `exec` are not below init and would be left behind.
    fn refuse_strangers(&self, state: &State) -> Result<()> {
        let strangers = self.strangers(state)?;
        let strangers: Vec<String> =
            strangers.into_iter().map(|pid| format!("{pid} ({})", name_of(pid))).collect();
        if strangers.is_empty() {
            return Ok(());
        }
        let list = strangers.join(", ");
        Err(self.wrong_state(format!(
            "runs processes beside its first one, as exec starts them, which a checkpoint cannot \
             hold: end {list} first"
        )))
    }

    /// Processes in the container's control group that are not below init.
    pub(crate) fn strangers(&self, state: &State) -> Result<Vec<i32>> {
        let init = state.init.as_ref().map_or(0, |init| init.pid);
        let mut processes = self.cgroup().processes()?;
        processes.retain(|pid| !descends(*pid, init));
        Ok(processes)
    }

    fn freeze_to(
        &self,
        stage: Stage,
        wanted: &Wanted<'_>,
        (state, before): (&State, Option<Before>),
        session: &mut Session,
    ) -> Result<Made> {
        let Wanted { name, fate, left_out, .. } = *wanted;
        let (since, rounds) = before.map(Before::split).unzip();
        let rounds = rounds.unwrap_or_default();
        let init = state.init.as_ref().map_or(0, |init| init.pid);
        let images = stage.dir.join(IMAGES);
        record::make_private_dir(&images)?;
        let mut stage = Some(stage);
        let mut sealed = None;
        let mut log_bytes = 0;
        let mut losses = Vec::new();
        let mut while_stopped =
            |lost: &[Loss]| -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
                losses = lost.iter().map(ToString::to_string).collect();
                let Some(open) = stage.as_ref() else { return Ok(()) };
                self.write_surroundings(&open.dir, init, state, left_out)?;
                log_bytes = self.logged(session, init, state)?;
                // The tree may lose its life only when all is on disk.
                if fate == Fate::Stop
                    && let Some(open) = stage.take()
                {
                    let told = (left_out, log_bytes, &*losses);
                    let stored = self.seal(open, name, state, (told, &rounds))?;
                    self.note_frozen(sealed.insert(stored))?;
                }
                Ok(())
            };
        let report = stasis_engine::checkpoint(CheckpointOptions {
            root: init,
            images_dir: images,
            fate: match fate {
                Fate::Stop => stasis_engine::Fate::Kill,
                Fate::LeaveRunning => stasis_engine::Fate::LeaveRunning,
            },
            shell_job: false,
            externals: self.externals(state)?,
            deadline: wanted.deadline,
            // What becomes of them is for each restore to say.
            connections: FrozenConnections::Kept(&Momentary),
            since,
            while_stopped: Some(&mut while_stopped),
        });
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                if let Some(Stored { dir, .. }) = sealed {
                    self.update(|state| state.frozen = None)?;
                    record::remove_tree(&dir)?;
                }
                return Err(error.into());
            }
        };
        if let Some(open) = stage {
            let told = (left_out, log_bytes, &*losses);
            sealed = Some(self.seal(open, name, state, (told, &rounds))?);
        }
        match sealed {
            Some(stored) => Ok(Made { stored, report }),
            None => Err(Error::invalid("the engine did not ask for the rest of the checkpoint")),
        }
    }

    /// What the host provides again at a restore.
    pub(crate) fn externals(&self, state: &State) -> Result<Externals> {
        let spec: serde_json::Value = record::read(&self.place.bundle().join("config.json"))?;
        let mut mounts = spec::mount_points(&spec);
        if self.config.tty {
            mounts.push("/dev/console".into());
        }
        let console = self.config.tty.then(|| state.stdio.first().map(PathBuf::from)).flatten();
        let files = state.stdio.iter().filter(|key| key.starts_with("pipe:")).cloned().collect();
        Ok(Externals { files, mounts, console, namespaces: NamespaceKind::ALL.to_vec() })
    }

    /// Everything but the tasks, of the same instant.
    pub(super) fn write_surroundings(
        &self,
        dir: &Path,
        init: i32,
        state: &State,
        left_out: LeftOut,
    ) -> Result<()> {
        record::write(&dir.join(DESCRIPTORS), &state.stdio)?;
        let root = PathBuf::from(format!("/proc/{init}/root"));
        record::write(&dir.join(SPEC_DUMP), &bundle::described(self, &root)?)?;
        if self.config.rootfs.is_layered() && !left_out.rootfs {
            self.pack_rootfs(dir)?;
        }
        for (index, target) in self.tmpfs_targets().iter().enumerate() {
            let mounted = open_inside(&root, target)?;
            pack(&inside::path_of(&mounted), &dir.join(tmpfs_file(index, target)))?;
        }
        if !left_out.volumes {
            self.pack_volumes(dir)?;
        }
        if let Some(pipe) = state.stdio.first().filter(|key| key.starts_with("pipe:")) {
            write_unread(pipe, init, &dir.join(STDIN))?;
        }
        Ok(())
    }

    /// How long the log is when all is in it that was printed up to the instant of the checkpoint; a
    /// container that runs on goes on writing to it.
    pub(super) fn logged(&self, session: &mut Session, init: i32, state: &State) -> Result<u64> {
        for (fd, key) in state.stdio.iter().enumerate().skip(1) {
            await_empty(&format!("/proc/{init}/fd/{fd}"), key);
        }
        // Whoever answers has written down what it has read.
        session.ask(&Frame::Hold)?;
        let log = self.place.log();
        match fs::metadata(&log) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            other => Ok(other.context("look at", log.display())?.len()),
        }
    }

    /// What the container changed, and what it removed.
    fn pack_rootfs(&self, dir: &Path) -> Result<()> {
        let archive = dir.join(ROOTFS_DIFF);
        let mut out = create(&archive)?;
        let below = rootfs::lower_dirs(self)?;
        let hidden = tar::pack_changes(&self.place.upper(), &below, &mut out)?;
        out.flush().context("write", archive.display())?;
        if hidden.is_empty() {
            return Ok(());
        }
        let deleted: Vec<PathBuf> = hidden.iter().map(|path| Path::new("/").join(path)).collect();
        record::write(&dir.join(DELETED), &deleted)
    }

    /// File systems in memory that hold data of the container.
    pub(super) fn tmpfs_targets(&self) -> Vec<PathBuf> {
        let own = self.config.mounts.iter();
        let mut targets: Vec<PathBuf> = own
            .clone()
            .filter(|mount| mount.kind == MountKind::Tmpfs)
            .map(|mount| mount.target.clone())
            .collect();
        let shm = Path::new(SHM_TARGET);
        if !own.clone().any(|mount| mount.target == shm) {
            targets.push(shm.into());
        }
        targets
    }

    fn seal(
        &self,
        stage: Stage,
        name: &str,
        state: &State,
        (told, rounds): (Told<'_>, &Rounds),
    ) -> Result<Stored> {
        rounds.link_into(&stage.dir)?;
        let checkpoint = self.describe((&stage.dir, &stage.id), name, state, (told, rounds))?;
        record::write(&stage.dir.join(CONFIG), &checkpoint)?;
        manifest::seal(&stage.dir, &rounds.sums)?;
        Ok(Stored::new(checkpoint, stage.finish()?))
    }

    /// What the checkpoint in `dir` says of itself.
    pub(super) fn describe(
        &self,
        (dir, id): (&Path, &str),
        name: &str,
        state: &State,
        ((left_out, log_bytes, losses), rounds): (Told<'_>, &Rounds),
    ) -> Result<Checkpoint> {
        Ok(Checkpoint {
            version: VERSION,
            id: id.to_owned(),
            name: name.to_owned(),
            created: Timestamp::now(),
            parent: state.came_from.clone(),
            size_bytes: manifest::size_bytes(dir)?,
            host: Some(Host::probe()),
            container: self.config.clone(),
            disk: match left_out.rootfs && (state.saved.is_some() || state.stays_for.is_some()) {
                true => Disk::WithContainer,
                false => Disk::Within,
            },
            tmpfs: self.tmpfs_targets(),
            volumes: if left_out.volumes { Vec::new() } else { self.own_volumes()? },
            log_bytes: Some(log_bytes),
            losses: losses.to_vec(),
            endpoints: state.endpoints.clone(),
            made_by: Maker::Stasis,
            rounds: rounds.named.clone(),
        })
    }
}

/// Packs a directory exactly as it is.
pub(super) fn pack(dir: &Path, archive: &Path) -> Result<()> {
    let mut out = create(archive)?;
    tar::pack(dir, tar::Form::Exact, &mut out)?;
    out.flush().context("write", archive.display())
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(path).context("create", path.display())?;
    Ok(BufWriter::with_capacity(COPY_BYTES, file))
}

/// Copies what lies in the pipe to standard input without taking it out: the checkpoint may fail yet.
fn write_unread(pipe: &str, init: i32, path: &Path) -> Result<()> {
    let link = format!("/proc/{init}/fd/0");
    let is_it = |target: PathBuf| target.as_os_str() == pipe;
    if !fs::read_link(&link).is_ok_and(is_it) {
        return Ok(());
    }
    let theirs = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&link)
        .context("open", &link)?;
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).context("make", "a pipe")?;
    // Pipes are at most as large as this unless somebody privileged made them larger.
    let _ = fcntl_setpipe_size(&writer, COPY_BYTES);
    match tee(&theirs, writer.as_fd(), COPY_BYTES, SpliceFlags::NONBLOCK) {
        Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
        Err(error) => return Err(error).context("copy", "unread standard input"),
    }
    drop(writer);
    let mut unread = Vec::new();
    File::from(reader).read_to_end(&mut unread).context("copy", "unread standard input")?;
    if unread.is_empty() { Ok(()) } else { record::write_bytes(path, &unread) }
}

/// Waits until the monitor has read what lies in a pipe; not for ever, since the log is not worth it.
fn await_empty(link: &str, pipe: &str) {
    if !pipe.starts_with("pipe:") || !fs::read_link(link).is_ok_and(|to| to.as_os_str() == pipe) {
        return;
    }
    let mut options = File::options();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let Ok(pipe) = options.open(link) else { return };
    let deadline = std::time::Instant::now() + LOG_PATIENCE;
    let is_empty = || rustix::io::ioctl_fionread(&pipe).is_ok_and(|bytes| bytes == 0);
    while !is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}

/// Is `pid` in the tree below `root`? A process that ended meanwhile is no stranger.
fn descends(pid: i32, root: i32) -> bool {
    let mut pid = pid;
    // Longer chains than there are pids do not exist.
    for _ in 0..4096 {
        if pid == root {
            return true;
        }
        match process::parent_of(pid) {
            None => return true,
            Some(parent) if parent <= 1 => return false,
            Some(parent) => pid = parent,
        }
    }
    false
}

fn name_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// A directory of the container, which no link of its root file system leads out of.
pub(super) fn open_inside(root: &Path, target: &Path) -> Result<OwnedFd> {
    let root = inside::open_root(root)?;
    inside::open(&root, target, OFlags::RDONLY | OFlags::DIRECTORY)
        .context("open", target.display())
}

pub(super) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
