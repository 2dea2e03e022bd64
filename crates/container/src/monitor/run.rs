//! One run of a container's program, from the launcher to the exit code.

mod ready;
mod starting;

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixListener},
    thread::sleep,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, wait, waitpid};
use stasis_enclosure::cgroup::Cgroup;

use super::{
    children::Children,
    client::Client,
    command::Command,
    launch::launch,
    protocol::{Mode, Notice},
    streams::Streams,
};
use crate::{
    bundle,
    error::{Context, Error, Result},
    frame::Frame,
    launcher::StartFailure,
    log::{Stream, Writer},
    networking,
    place::listen_at,
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
            self.look_after_what_is_ready();
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

    fn fail(&mut self, code: i32, message: &str) {
        self.failure.get_or_insert(StartFailure { code, message: message.into() });
        let _ = pidfd_send_signal(&self.init_fd, Signal::KILL);
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
