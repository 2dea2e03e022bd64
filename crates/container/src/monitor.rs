//! The monitor: a small process for each container that runs.
//!
//! It is the parent of init and holds the other ends of its standard streams; it writes the log,
//! serves those who attach, records how the program ended and starts it again if that is wanted. It
//! has its own session and no terminal, so it outlives the command that started it.
//!
//! Descriptor 0 is the socket to that command, which is told when init is there, releases it, and is
//! told whether the program could be executed. If the command dies before that, so does init; until
//! all is cleared up the monitor keeps the command's lock, so that nobody comes in between.

mod children;
mod client;
mod run;
mod streams;

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

use jiff::Timestamp;
use rustix::process::{getpid, set_child_subreaper, setsid};
use serde::{Deserialize, Serialize};
use stasis_enclosure::cgroup::Cgroup;
use stasis_network::{Endpoint, Note};

use crate::{
    checkpoint::Origin,
    cleanup,
    error::{Context, Error, Result},
    home::Home,
    process::ProcessId,
    record::{self, Lock},
    state::{State, Status},
    store::{Container, Store},
    wire,
};

use run::{Ended, Run};

/// The control group of all monitors.
const GROUP: &str = "stasis/monitors";

/// What a monitor is started for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// The user's program, from its beginning.
    Program,
    /// A blank that the engine fills with this checkpoint, which was taken in these places of networks.
    Restore { checkpoint: Origin, endpoints: Vec<Endpoint> },
}

/// From the command to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Once, first of all. The container's command lock comes along.
    Start(Mode),
    /// Init may execute its program.
    Release,
    /// The connections of a restored tree are in place: the network may come to them.
    Unlock,
    /// The restored tree runs and is the container from now on.
    Commit,
}

/// From the monitor to the command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// Init waits to be released.
    Created {
        pid: i32,
        notes: Vec<Note>,
    },
    /// The network is there.
    Unlocked,
    /// The program was executed, or the commit is written down.
    Started,
    Failed {
        code: i32,
        message: String,
    },
}

/// Body of `internal-monitor`.
///
/// # Errors
/// What kept the monitor from its work; the command has been told as far as that was possible.
pub fn main(home: Home, id: &str) -> Result<()> {
    let control = std::io::stdin().as_fd().try_clone_to_owned().context("duplicate", "a socket")?;
    let null = File::open("/dev/null").context("open", "/dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("duplicate", "/dev/null")?;
    // That it leads a session already is fine.
    let _ = setsid();
    set_child_subreaper(Some(getpid())).context("become", "the subreaper")?;
    std::env::set_current_dir("/").context("enter", "/")?;
    leave_login();
    let container = Store::new(home).open(id)?;
    let Some((Order::Start(mode), fds)) = wire::receive_with_fds(&control)? else { return Ok(()) };
    let lock = fds.into_iter().next().map(Lock::from);
    let lock = lock.ok_or_else(|| Error::invalid("the lock of the command is missing"))?;
    supervise(&container, mode, Command { control, is_gone: false, _lock: lock })
}

/// A service manager ends all that was started in a login when that login ends, and at a shutdown it
/// does so before `system save` could freeze anything.
fn leave_login() {
    if let Err(error) = Cgroup::new(GROUP).enter() {
        tracing::warn!("the monitor stays in the control group of who started it: {error}");
    }
}

/// The command that starts a run, until it knows all it needs.
struct Command {
    control: OwnedFd,
    /// It died: nothing more comes from there.
    is_gone: bool,
    /// Its lock on the container; while this lives nobody else starts, stops or removes it, even if the
    /// command dies.
    _lock: Lock,
}

impl Command {
    /// Nothing is left to do for a command that has died.
    fn tell_failed(&self, code: i32, message: String) {
        let _ = wire::send(&self.control, &Notice::Failed { code, message });
    }
}

/// Runs the program, again and again if so wanted.
fn supervise(container: &Container, mode: Mode, command: Command) -> Result<()> {
    let before = container.update(|state| {
        let before = state.clone();
        state.monitor = ProcessId::probe(getpid().as_raw_nonzero().get());
        before
    })?;
    let mut run = match Run::prepare(container, mode) {
        Ok(run) => run,
        Err(error) => return not_started(container, before, &error, &command),
    };
    run.report_to(command);
    let mut restarts = 0;
    loop {
        let ended = run.serve();
        // The end must be told and written down whatever is left: the next start clears it up.
        if let Err(error) = cleanup::leftovers(container) {
            tracing::warn!("not all of container {} is gone: {error}", container.config.name);
        }
        match ended {
            Ended::NotStarted(failure) => {
                return run.farewell_failed(container, before, failure);
            }
            Ended::Exited(code) => {
                if !run.wants_restart(code, restarts)? {
                    return finish(run, container, code);
                }
                restarts += 1;
                run = match again(run, container, code, restarts) {
                    Ok(run) => run,
                    Err(error) => return not_restarted(container, &error),
                };
            }
        }
    }
}

/// Writes the end down before anybody hears of it, and clears up before it is written down: from then
/// on the container may be started again, or removed, and what lies on disk is no longer ours.
fn finish(run: Run, container: &Container, code: i32) -> Result<()> {
    // An exec that is just beginning may put something there: no reason to keep the end for us.
    let cleared = record::remove_tree(&container.place.run);
    let stays = container.update(|state| {
        record_exit(state, code);
        state.stays()
    })?;
    let is_over = container.config.auto_remove && !stays;
    let removed = if is_over { remove(container) } else { Ok(()) };
    run.farewell(code);
    cleared.and(removed)
}

/// As `--rm` asks.
fn remove(container: &Container) -> Result<()> {
    container.remove_record()?;
    container.remove_anonymous_volumes()
}

fn record_exit(state: &mut State, code: i32) {
    state.status = Status::Exited;
    state.exit_code = code;
    state.finished = Some(Timestamp::now());
    state.init = None;
    state.monitor = None;
    state.stdio.clear();
}

/// Waits a little longer each time (as Docker does) and starts the program again.
fn again(run: Run, container: &Container, code: i32, restarts: u32) -> Result<Run> {
    container.update(|state| {
        state.exit_code = code;
        state.status = Status::Restarting;
        state.finished = Some(Timestamp::now());
        state.init = None;
        state.restarts = restarts;
    })?;
    run.pause_before_restart(restarts)?;
    if container.update(|state| state.stop_requested)? {
        finish(run, container, code)?;
        std::process::exit(0);
    }
    run.prepare_again(container)
}

fn not_restarted(container: &Container, error: &Error) -> Result<()> {
    let _ = cleanup::leftovers(container);
    container.update(|state| {
        record_exit(state, 125);
        state.error = error.to_string();
    })
}

/// The container is as it was before, but for the message. The command hears of it when that is so.
fn not_started(
    container: &Container,
    before: State,
    error: &Error,
    command: &Command,
) -> Result<()> {
    let _ = cleanup::leftovers(container);
    let written = container.update(|state| {
        *state = State { monitor: None, init: None, error: error.to_string(), ..before };
    });
    let code = if let Error::NotStarted { code, .. } = error { *code } else { 125 };
    command.tell_failed(code, error.to_string());
    written
}
