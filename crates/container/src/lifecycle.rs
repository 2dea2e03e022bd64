//! Starting, stopping, signalling, pausing, waiting for and removing a container.

use std::{
    fs::{self, File},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    process::{Command, Stdio},
    time::Duration,
};

use jiff::Timestamp;
use stasis_enclosure::cgroup::{Cgroup, Layout};
use stasis_network::Note;

use crate::{
    attach::{Ended, Session},
    cleanup,
    error::{Context, Error, Result},
    frame::Frame,
    monitor::protocol::{Mode, Notice, Order},
    networking,
    process::ProcessId,
    record::{self, Lock},
    spec::cgroup_name,
    state::{State, Status, UNKNOWN_EXIT_CODE},
    store::Container,
    volume::Volumes,
    wait::wait_readable,
    wire,
};

const SIGKILL: i32 = 9;
/// How long `kill` waits for the end, as Docker's does.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// After SIGKILL the end is a matter of the kernel only.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// A container whose init is there and waits.
#[derive(Debug)]
pub struct Starting {
    pub(crate) control: OwnedFd,
    pub(crate) pid: i32,
    /// Nobody else works on the container meanwhile.
    pub(crate) lock: Lock,
}

impl Starting {
    /// Lets the program begin.
    ///
    /// # Errors
    /// [`Error::NotStarted`] with the exit code of a shell.
    pub fn release(self) -> Result<()> {
        wire::send(&self.control, &Order::Release)?;
        self.started()
    }

    pub(crate) fn started(&self) -> Result<()> {
        match wire::receive(&self.control)? {
            Some(Notice::Started) => Ok(()),
            Some(Notice::Failed { code, message }) => Err(Error::NotStarted { code, message }),
            _ => Err(Error::NotStarted { code: 125, message: "the monitor died".into() }),
        }
    }
}

/// What `rm` does with a container that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Refuse,
    Kill,
}

/// What `rm` does with volumes that were made for the container alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumesOf {
    Keep,
    Remove,
}

impl Container {
    /// Makes the container up to the point where its init waits for [`Starting::release`].
    ///
    /// # Errors
    /// [`Error::WrongState`] if it runs already, or what stood in the way.
    pub fn begin_start(&self) -> Result<Starting> {
        self.begin_with(self.command_lock()?, Mode::Program, || Ok(()))
    }

    /// `lock` is the container's command lock. `arrange` is called when it is sure that the container does not run; what it did is undone at
    /// the next start if this one does not come to its end.
    pub(crate) fn begin_with(
        &self,
        lock: Lock,
        mode: Mode,
        arrange: impl FnOnce() -> Result<()>,
    ) -> Result<Starting> {
        let state = self.state()?;
        if state.status.is_up() {
            return Err(self.wrong_state("is already running"));
        }
        self.settle_lost(&state)?;
        self.undo_disk()?;
        arrange()?;
        self.update(|state| {
            state.stop_requested = false;
            state.restarts = 0;
        })?;
        let begun = self.begin_monitored(mode, lock);
        if begun.is_err() {
            self.undo_disk()?;
        }
        begun
    }

    fn begin_monitored(&self, mode: Mode, lock: Lock) -> Result<Starting> {
        let control = self.spawn_monitor()?;
        wire::send_with_fds(&control, &Order::Start(mode), &[lock.as_fd()])?;
        match wire::receive(&control)? {
            Some(Notice::Created { pid, notes }) => {
                notes.iter().for_each(tell);
                Ok(Starting { control, pid, lock })
            }
            Some(Notice::Failed { code, message }) => Err(Error::NotStarted { code, message }),
            _ => Err(Error::NotStarted { code: 125, message: "the monitor died".into() }),
        }
    }

    fn spawn_monitor(&self) -> Result<OwnedFd> {
        record::make_private_dir(&self.place.run)?;
        let (ours, theirs) = wire::pair()?;
        let log_path = self.place.monitor_log();
        let log = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&log_path)
            .context("open", log_path.display())?;
        Command::new("/proc/self/exe")
            .arg("--root")
            .arg(self.home.root())
            .arg("--runroot")
            .arg(self.home.runroot())
            .arg("internal-monitor")
            .arg(&self.config.id)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start", "the monitor")?;
        Ok(ours)
    }

    /// Writes down the end of a container whose monitor did not live to do so.
    fn settle_lost(&self, observed: &State) -> Result<()> {
        if observed.status.is_up() || observed.is_watched() {
            return Ok(());
        }
        cleanup::leftovers(self)?;
        self.update(|state| {
            if state.status.is_up() {
                state.status = Status::Exited;
                state.exit_code = UNKNOWN_EXIT_CODE;
                state.finished = Some(Timestamp::now());
            }
            state.init = None;
            state.monitor = None;
        })
    }

    /// Connects to the container's streams.
    ///
    /// # Errors
    /// [`Error::WrongState`] if it does not run.
    pub fn attach(&self) -> Result<Session> {
        let mut session = Session::connect(self)?;
        session.ask(&Frame::Hello)?;
        Ok(session)
    }

    /// Waits for the end of the container and gives its exit code.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`] if it was removed without a word.
    pub fn wait(&self) -> Result<i32> {
        if let Ok(session) = Session::connect(self)
            && let Ended::Exited(code) = session.wait()?
        {
            return Ok(code);
        }
        loop {
            let state = self.state()?;
            match state.init.as_ref().filter(|_| state.status.is_up()).and_then(ProcessId::open) {
                Some(init) => drop(wait_readable(&init, None)?),
                None if state.status.is_up() => std::thread::sleep(Duration::from_millis(10)),
                None => return Ok(state.exit_code),
            }
        }
    }

    /// Sends a signal to init. After SIGKILL it waits until the end is written down.
    ///
    /// # Errors
    /// [`Error::WrongState`] if it does not run, or does not end within ten seconds of SIGKILL.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let state = self.state()?;
        let Some(init) = state.init.as_ref().filter(|_| state.status.is_up()) else {
            return Err(self.wrong_state("is not running"));
        };
        if signal == SIGKILL || signal == self.config.stop.signal {
            self.update(|state| state.stop_requested = true)?;
        }
        init.signal(signal)?;
        if signal == SIGKILL {
            self.thaw_for_the_end(&state)?;
            self.await_end(&state, KILL_PATIENCE)?;
        }
        Ok(())
    }

    /// A task frozen by version 1 does not even die; one frozen by version 2 does.
    fn thaw_for_the_end(&self, state: &State) -> Result<()> {
        if state.status == Status::Paused && self.cgroup().layout() == Layout::Legacy {
            self.cgroup().thaw()?;
        }
        Ok(())
    }

    /// Asks the program to end, and kills it after `timeout` (or the container's own).
    ///
    /// # Errors
    /// If the kernel refuses. That it does not run is fine.
    pub fn stop(&self, timeout_s: Option<i64>) -> Result<()> {
        let _lock = self.command_lock()?;
        self.stop_locked(timeout_s)
    }

    fn stop_locked(&self, timeout_s: Option<i64>) -> Result<()> {
        let state = self.state()?;
        if !state.status.is_up() {
            return self.settle_lost(&state);
        }
        let state = self.request_stop()?;
        let Some(init) = state.init.clone() else { return self.wait_down(&state, KILL_TIMEOUT) };
        init.signal(self.config.stop.signal)?;
        if state.status == Status::Paused {
            self.cgroup().thaw()?;
        }
        let timeout = timeout_s.unwrap_or(self.config.stop.timeout_s);
        let patience = u64::try_from(timeout).ok().map(Duration::from_secs);
        if let Some(fd) = init.open()
            && !wait_readable(&fd, patience)?
        {
            init.signal(SIGKILL)?;
        }
        self.wait_down(&state, KILL_TIMEOUT)
    }

    /// From here on no restart policy starts the program again. Gives the record of that moment: whom
    /// it names is all that runs, since a monitor that is just starting the program sees the request
    /// when it writes its own record, and ends it.
    fn request_stop(&self) -> Result<State> {
        self.update(|state| {
            state.stop_requested = true;
            state.saved = None;
            state.clone()
        })
    }

    /// Waits until the monitor has written the end down, or does it if there is none.
    pub(crate) fn wait_down(&self, state: &State, timeout: Duration) -> Result<()> {
        self.await_end(state, timeout)?;
        match self.state() {
            Ok(state) => self.settle_lost(&state),
            // Removed by its monitor, as `--rm` asks.
            Err(Error::NoSuchContainer(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits for the end of init, and of the monitor, which has written it down then.
    fn await_end(&self, state: &State, timeout: Duration) -> Result<()> {
        let processes = [&state.init, &state.monitor];
        for fd in processes.into_iter().flatten().filter_map(ProcessId::open) {
            if !wait_readable(&fd, Some(timeout))? {
                return Err(self.wrong_state("does not end although it was killed"));
            }
        }
        Ok(())
    }

    /// Freezes all tasks of the container by its control group.
    ///
    /// # Errors
    /// [`Error::WrongState`] unless it runs.
    pub fn pause(&self) -> Result<()> {
        let _lock = self.command_lock()?;
        match self.state()?.status {
            Status::Running => {}
            Status::Paused => return Err(self.wrong_state("is already paused")),
            _ => return Err(self.wrong_state("is not running")),
        }
        match self.cgroup().freeze().map_err(Error::from).and_then(|()| self.turn_paused()) {
            Err(_) if !self.state()?.status.is_up() => Err(self.wrong_state("is not running")),
            other => other,
        }
    }

    /// It may have ended just before it froze: then its end stands in the record and remains there.
    fn turn_paused(&self) -> Result<()> {
        let turned = self.update(|state| state.turn(Status::Running, Status::Paused))?;
        if turned { Ok(()) } else { Err(self.wrong_state("is not running")) }
    }

    /// Lets a paused container run on.
    ///
    /// # Errors
    /// [`Error::WrongState`] unless it is paused.
    pub fn unpause(&self) -> Result<()> {
        let _lock = self.command_lock()?;
        if self.state()?.status != Status::Paused {
            return Err(self.wrong_state("is not paused"));
        }
        self.cgroup().thaw()?;
        // Whoever was killed while it was paused has ended by now: its end remains in the record.
        self.update(|state| state.turn(Status::Paused, Status::Running))?;
        Ok(())
    }

    /// Removes the container with its log and changes, and the volumes that nobody named if so wanted.
    /// Its checkpoints stay.
    ///
    /// # Errors
    /// [`Error::WrongState`] if it runs and `removal` says so.
    pub fn remove(&self, removal: Removal, volumes: VolumesOf) -> Result<()> {
        let _lock = self.command_lock()?;
        let mut state = self.state()?;
        if state.status.is_up() {
            if removal == Removal::Refuse {
                let reason = "is running: stop it before removing it, or remove it with --force";
                return Err(self.wrong_state(reason));
            }
            state = self.strike_down()?;
        }
        self.wait_down(&state, KILL_TIMEOUT)?;
        cleanup::leftovers(self)?;
        networking::forget(self)?;
        record::remove_tree(&self.place.run)?;
        self.remove_record()?;
        match volumes {
            VolumesOf::Keep => Ok(()),
            VolumesOf::Remove => self.remove_anonymous_volumes(),
        }
    }

    /// Kills everything that runs; gives the record of that moment, see [`Container::wait_down`].
    pub(crate) fn strike_down(&self) -> Result<State> {
        let state = self.request_stop()?;
        if let Some(init) = &state.init {
            init.signal(SIGKILL)?;
            self.thaw_for_the_end(&state)?;
        }
        Ok(state)
    }

    /// From the moment of the rename on there is no such container.
    pub(crate) fn remove_record(&self) -> Result<()> {
        let gone = self.home.containers().join(format!(".gone-{}", self.config.id));
        match fs::rename(&self.place.dir, &gone) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context("remove", self.place.dir.display()),
            Ok(()) => record::remove_tree(&gone),
        }
    }

    pub(crate) fn remove_anonymous_volumes(&self) -> Result<()> {
        if !self.config.mounts.iter().any(|mount| mount.volume().is_some()) {
            return Ok(());
        }
        Volumes::new(self.home.clone()).remove_anonymous(&self.config.mounts)
    }

    /// Its control group on this host.
    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::new(cgroup_name(&self.config.id))
    }
}

fn tell(note: &Note) {
    if note.is_warning() { tracing::warn!("{note}") } else { tracing::info!("{note}") }
}
