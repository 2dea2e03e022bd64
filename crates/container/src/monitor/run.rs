//! One run of a container's program, from the launcher to the exit code.

use std::{
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    thread::sleep,
    time::Duration,
};

use jiff::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, WaitOptions, pidfd_send_signal, wait, waitpid},
};
use stasis_enclosure::cgroup::Cgroup;

use super::{Command, Mode, Notice, Order, children::Children, client::Client, streams::Streams};
use crate::{
    bundle,
    console::accept_console,
    error::{Context, Error, Result},
    frame::Frame,
    health::Health,
    launcher::{Go, Launcher, Reply, Request, StartFailure},
    log::{Stream, Writer},
    networking,
    place::listen_at,
    process::ProcessId,
    spec::cgroup_name,
    state::{State, Status},
    store::Container,
    wait::{WAIT_FOR_ALL_KINDS, exit_code},
    wire,
};

/// How a run came to its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// The program was never executed, or the restore never committed.
    NotStarted(StartFailure),
    Exited(i32),
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Init waits for its release, or has been released a moment ago.
    Starting,
    /// A blank was executed; the engine fills it.
    Restoring,
    Running,
}

/// A run with everything that belongs to it.
pub(super) struct Run {
    container: Container,
    mode: Mode,
    phase: Phase,
    cgroup: Cgroup,
    /// Who started us, until it knows all it needs.
    command: Option<Command>,
    /// To the launcher, until it has let init go.
    launcher: Option<OwnedFd>,
    is_released: bool,
    status: Option<File>,
    status_text: Vec<u8>,
    init: Pid,
    init_fd: OwnedFd,
    stdio: Vec<String>,
    streams: Streams,
    log: Writer,
    listener: UnixListener,
    children: Children,
    clients: Vec<Client>,
    network: networking::Joined,
    failure: Option<StartFailure>,
    /// The last exit code seen of init.
    exit: Option<i32>,
}

/// What to look after when poll(2) returns.
#[derive(Clone, Copy, Debug)]
enum Source {
    Command,
    Launcher,
    Status,
    Init,
    Listener,
    Children,
    Input,
    Output(usize),
    Client(usize),
}

impl Run {
    /// Makes the container up to the point where init waits.
    ///
    /// # Errors
    /// Whatever stood in the way.
    pub fn prepare(container: &Container, mode: Mode) -> Result<Run> {
        Run::make(container, mode, None)
    }

    /// Tells the command that init waits, and obeys it from here on.
    pub fn report_to(&mut self, command: Command) {
        let pid = self.init.as_raw_nonzero().get();
        let notes = std::mem::take(&mut self.network.notes);
        // That nobody listens any more is heard when we do.
        let _ = wire::send(&command.control, &Notice::Created { pid, notes });
        self.command = Some(command);
    }

    fn make(container: &Container, mode: Mode, old: Option<Run>) -> Result<Run> {
        let bundle = bundle::prepare(container, &mode)?;
        let (listener, children, clients) = match old {
            Some(old) => (old.listener, old.children, old.clients),
            None => {
                let listener = listen_at(&container.place.attach_socket())?;
                (listener, Children::listen()?, Vec::new())
            }
        };
        let (launcher, streams, stdio, pid) = launch(container, bundle)?;
        let init = Pid::from_raw(pid).ok_or_else(|| Error::invalid("the runtime gave no pid"))?;
        let init_fd = rustix::process::pidfd_open(init, rustix::process::PidfdFlags::NONBLOCK)
            .context("open process", pid)?;
        let network = match networking::join(container, &mode, pid) {
            Ok(network) => network,
            Err(error) => {
                // It waits for a release that will not come.
                let _ = pidfd_send_signal(&init_fd, Signal::KILL);
                let _ = waitpid(Some(init), WaitOptions::from_bits_retain(WAIT_FOR_ALL_KINDS));
                return Err(error);
            }
        };
        Ok(Run {
            container: container.clone(),
            mode,
            phase: Phase::Starting,
            cgroup: Cgroup::new(cgroup_name(&container.config.id)),
            command: None,
            launcher: Some(launcher.socket),
            is_released: false,
            status: Some(launcher.status.into()),
            status_text: Vec::new(),
            init,
            init_fd,
            stdio,
            streams,
            log: Writer::open(&container.place.log())?,
            listener,
            children,
            clients,
            network,
            failure: None,
            exit: None,
        })
    }

    /// The next run of the same program; who was attached stays so.
    ///
    /// # Errors
    /// Whatever stood in the way.
    pub fn prepare_again(self, container: &Container) -> Result<Run> {
        let size = self.streams.size();
        let mut run = Run::make(container, Mode::Program, Some(self))?;
        if let Some(size) = size {
            run.streams.resize(size);
        }
        run.release()?;
        Ok(run)
    }

    /// Lets the program run until it ends.
    pub fn serve(&mut self) -> Ended {
        while self.exit.is_none() {
            for source in self.wait() {
                self.look_after(source);
            }
            self.forget_gone_clients();
        }
        self.read_status();
        for (stream, bytes) in self.streams.drain() {
            self.publish(stream, &bytes);
        }
        if let Err(error) = self.log.flush() {
            tracing::error!("cannot write the log: {error}");
        }
        self.reap();
        self.network.relay = None;
        self.network.held_ports.clear();
        self.ended()
    }

    fn ended(&mut self) -> Ended {
        let code = self.exit.unwrap_or(255);
        match (self.failure.take(), self.phase) {
            (Some(failure), _) => Ended::NotStarted(failure),
            (None, Phase::Running) => Ended::Exited(code),
            (None, _) => Ended::NotStarted(StartFailure {
                code: 125,
                message: "the container was not started".into(),
            }),
        }
    }

    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Init, Source::Listener, Source::Children];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.init_fd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.children.as_fd(), PollFlags::IN),
        ];
        let mut watch = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if let Some(command) = self.command.as_ref().filter(|command| !command.is_gone) {
            watch(Source::Command, command.control.as_fd(), PollFlags::IN);
        }
        if let Some(launcher) = self.launcher.as_ref().filter(|_| self.is_released) {
            watch(Source::Launcher, launcher.as_fd(), PollFlags::IN);
        }
        if let Some(status) = &self.status {
            watch(Source::Status, status.as_fd(), PollFlags::IN);
        }
        if let Some(input) = self.streams.input_fd() {
            watch(Source::Input, input, PollFlags::OUT);
        }
        if !self.clients.iter().any(Client::is_behind) {
            for (index, output) in self.streams.output_fds().enumerate() {
                watch(Source::Output(index), output, PollFlags::IN);
            }
        }
        let takes_input = self.streams.takes_input();
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, takes_input);
            flags.set(PollFlags::OUT, client.has_pending());
            watch(Source::Client(index), client.fd(), flags);
        }
        // A console that nobody has open reports a hang-up all the time.
        let hung_up = |fd: &PollFd| fd.revents() == PollFlags::HUP;
        match poll(&mut fds, None::<&Timespec>) {
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
        let ready: Vec<(Source, bool)> = sources
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, fd)| (source, hung_up(fd)))
            .collect();
        if ready.iter().all(|(source, hung_up)| matches!(source, Source::Output(_)) && *hung_up) {
            sleep(Duration::from_millis(10));
        }
        // Outputs that end are forgotten, which moves those behind them: the last one first.
        ready.into_iter().map(|(source, _)| source).rev().collect()
    }

    fn look_after(&mut self, source: Source) {
        match source {
            Source::Command => self.obey(),
            Source::Launcher => self.hear_launcher(),
            Source::Status => self.read_status(),
            Source::Init => {
                self.reap();
                if self.exit.is_none() {
                    // Whoever traces it has to take note of its end first.
                    sleep(Duration::from_millis(1));
                }
            }
            Source::Listener => self.welcome(),
            Source::Children => {
                self.children.heard();
                self.reap();
            }
            Source::Input => self.streams.write_input(),
            Source::Output(index) => {
                if let Some((stream, bytes)) = self.streams.read_output(index) {
                    self.publish(stream, &bytes);
                }
            }
            Source::Client(index) => self.listen_to(index),
        }
    }

    fn obey(&mut self) {
        let Some(command) = &mut self.command else { return };
        match wire::receive::<Order>(&command.control) {
            Ok(Some(Order::Release)) => {
                if let Err(error) = self.release() {
                    self.fail(125, &error.to_string());
                }
            }
            Ok(Some(Order::Unlock)) if self.phase == Phase::Restoring => {
                self.network.lock = None;
                if let Err(error) = wire::send(&command.control, &Notice::Unlocked) {
                    self.fail(125, &error.to_string());
                }
            }
            Ok(Some(Order::Commit)) if self.phase == Phase::Restoring => self.set_running(),
            Ok(Some(order)) => self.fail(125, &format!("unexpected order {order:?}")),
            // The command died before the container was its own master.
            Ok(None) | Err(_) => {
                command.is_gone = true;
                self.fail(125, "the command that started it died");
            }
        }
    }

    fn release(&mut self) -> Result<()> {
        self.is_released = true;
        match &self.launcher {
            Some(launcher) => wire::send(launcher, &Go),
            None => Ok(()),
        }
    }

    fn hear_launcher(&mut self) {
        let Some(launcher) = self.launcher.take() else { return };
        match wire::receive::<Reply>(&launcher) {
            Ok(Some(Reply::Released)) => {}
            Ok(Some(Reply::Failed { message })) => self.fail(125, &message),
            _ => self.fail(125, "the launcher died"),
        }
        self.reap();
    }

    fn fail(&mut self, code: i32, message: &str) {
        self.failure.get_or_insert(StartFailure { code, message: message.into() });
        let _ = pidfd_send_signal(&self.init_fd, Signal::KILL);
    }

    fn read_status(&mut self) {
        let Some(status) = &mut self.status else { return };
        let mut buffer = [0; 4096];
        match status.read(&mut buffer) {
            Ok(count) if count > 0 => self.status_text.extend_from_slice(&buffer[..count]),
            _ => {
                self.status = None;
                self.program_was_executed();
            }
        }
    }

    /// The status pipe has come to its end: with a message, or since execve(2) closed it.
    fn program_was_executed(&mut self) {
        match StartFailure::decode(&self.status_text) {
            Some(failure) => self.failure = Some(failure),
            None if !self.is_released || self.phase != Phase::Starting => {}
            None if self.mode == Mode::Program => self.set_running(),
            None => self.phase = Phase::Restoring,
        }
    }

    fn set_running(&mut self) {
        self.phase = Phase::Running;
        self.network.lock = None;
        let init = ProcessId::probe(self.init.as_raw_nonzero().get());
        let written = self.container.update(|state| {
            state.status = Status::Running;
            state.init = init;
            state.started = Some(Timestamp::now());
            state.error.clear();
            state.stdio.clone_from(&self.stdio);
            state.came_from = match &self.mode {
                Mode::Program => None,
                Mode::Restore { checkpoint, .. } => Some(checkpoint.clone()),
            };
            state.saved = None;
            state.frozen = None;
            state.stays_for = None;
            state.restored = match &self.mode {
                Mode::Program => None,
                Mode::Restore { .. } => Some(Timestamp::now()),
            };
            state.health = self.container.is_checked().then(Health::starting);
            state.stop_requested
        });
        self.watch_health();
        // What it took to come so far is not needed again, as a rule, for as long as the program runs.
        stasis_sys::heap::trim();
        if let Ok(true) = written {
            // The user asked for it while a restart policy was at work.
            let _ = pidfd_send_signal(&self.init_fd, Signal::KILL);
        }
        match (written, self.command.take()) {
            (Ok(_), Some(command)) => drop(wire::send(command.control, &Notice::Started)),
            (Ok(_), None) => {}
            (Err(error), command) => {
                self.command = command;
                self.fail(125, &error.to_string());
            }
        }
    }

    /// The watch ends by itself when init has ended. A program runs on also if nobody can watch it.
    fn watch_health(&self) {
        if !self.container.is_checked() {
            return;
        }
        let home = &self.container.home;
        let started = std::process::Command::new("/proc/self/exe")
            .arg("--root")
            .arg(home.root())
            .arg("--runroot")
            .arg(home.runroot())
            .arg("internal-health")
            .arg(&self.container.config.id)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn();
        if let Err(error) = started {
            tracing::error!("cannot watch the health of the container: {error}");
        }
    }

    /// Init has ended if its pidfd is readable; others may have become our children.
    fn reap(&mut self) {
        let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(WAIT_FOR_ALL_KINDS);
        while let Ok(Some((pid, status))) = wait(options) {
            if pid == self.init {
                self.exit = Some(exit_code(status));
            }
        }
    }

    fn welcome(&mut self) {
        if let Ok((stream, _)) = self.listener.accept() {
            self.clients.extend(Client::new(stream));
        }
    }

    fn listen_to(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.flush();
        for frame in client.receive() {
            match frame {
                Frame::Input(bytes) => self.streams.push_input(&bytes),
                Frame::InputEnd => self.streams.end_input(),
                Frame::Resize(size) => self.streams.resize(size),
                _ => {}
            }
        }
        self.streams.write_input();
    }

    /// A client that was freezing the container and died must leave it neither frozen nor as one that
    /// the user stopped.
    fn forget_gone_clients(&mut self) {
        let held = self.clients.iter().any(|client| client.is_gone && client.holds);
        self.clients.retain(|client| !client.is_gone);
        if !held || self.exit.is_some() {
            return;
        }
        let undone = self.container.update(|state| {
            state.stop_requested = false;
            state.saved = None;
            state.status
        });
        if undone.is_ok_and(|status| status != Status::Paused) && self.cgroup.is_frozen() {
            let _ = self.cgroup.thaw();
        }
    }

    fn publish(&mut self, stream: Stream, bytes: &[u8]) {
        if let Err(error) = self.log.take(stream, bytes) {
            tracing::error!("cannot write the log: {error}");
        }
        for client in &mut self.clients {
            client.send_output(stream, bytes);
        }
    }

    /// Asks the policy of the container, and whether the user stopped it.
    ///
    /// # Errors
    /// If the container was removed meanwhile.
    pub fn wants_restart(&self, code: i32, restarts: u32) -> Result<bool> {
        let stopped = self.container.state()?.stop_requested;
        Ok(!stopped && self.container.config_now()?.restart.wants_restart(code, restarts))
    }

    /// Doubles from 100 ms up to a minute, and ends early when the user stops the container.
    ///
    /// # Errors
    /// If the container was removed meanwhile.
    pub fn pause_before_restart(&self, restarts: u32) -> Result<()> {
        let pause = Duration::from_millis(100) * 2u32.pow(restarts.saturating_sub(1).min(9));
        let mut left = pause.min(Duration::from_secs(60));
        while !left.is_zero() && !self.container.state()?.stop_requested {
            let step = left.min(Duration::from_millis(50));
            sleep(step);
            left -= step;
        }
        Ok(())
    }

    /// Tells all who listen that the container has stopped. The socket's name may be another
    /// monitor's by now.
    pub fn farewell(self, code: i32) {
        drop(self.listener);
        for client in self.clients {
            client.finish(&Frame::Exit(code));
        }
    }

    /// Puts the record back as it was before, and tells the command.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn farewell_failed(
        mut self,
        container: &Container,
        before: State,
        failure: StartFailure,
    ) -> Result<()> {
        let is_restore = self.mode != Mode::Program;
        let _ = std::fs::remove_file(container.place.attach_socket());
        container.update(|state| {
            *state = State { monitor: None, init: None, ..before };
            if !is_restore {
                state.status = Status::Created.max_with(state.status);
                state.exit_code = failure.code;
                state.error.clone_from(&failure.message);
            }
        })?;
        let command = self.command.take();
        let code = failure.code;
        self.farewell(code);
        if let Some(command) = command {
            command.tell_failed(code, failure.message);
        }
        Ok(())
    }
}

impl Status {
    /// A program that could not be started leaves a container that never ran as `created`.
    fn max_with(self, before: Status) -> Status {
        if before == Status::Exited { Status::Exited } else { self }
    }
}

/// Starts the launcher; returns it with our ends of the streams, their names, and init's pid.
fn launch(
    container: &Container,
    request: Request,
) -> Result<(Launcher, Streams, Vec<String>, i32)> {
    if let Some(path) = &request.console_socket {
        let listener = listen_at(path)?;
        let mut launcher = Launcher::start(&request, &[])?;
        let created = launcher.created();
        let _ = launcher.child.try_wait();
        let pid = created?;
        let streams = Streams::console(accept_console(&listener)?)?;
        let console = console_of(pid)?;
        return Ok((launcher, streams, vec![console; 3], pid));
    }
    let (streams, theirs, names) = Streams::pipes(container.config.stdin_open)?;
    let ends: Vec<_> = theirs.0.iter().map(AsFd::as_fd).collect();
    let launcher = Launcher::start(&request, &ends)?;
    let pid = launcher.created()?;
    Ok((launcher, streams, names, pid))
}

/// Name of init's terminal inside the container.
fn console_of(pid: i32) -> Result<String> {
    let path = format!("/proc/{pid}/fd/0");
    let link = std::fs::read_link(&path).context("read", &path)?;
    Ok(link.to_string_lossy().into_owned())
}
