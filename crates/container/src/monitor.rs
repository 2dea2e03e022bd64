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
mod command;
mod launch;
pub(crate) mod protocol;
mod run;
mod streams;

use std::{fs::File, os::fd::AsFd};

use jiff::Timestamp;
use rustix::process::{getpid, set_child_subreaper, setsid};
use stasis_enclosure::cgroup::Cgroup;

use crate::{
    cleanup,
    error::{Context, Error, Result},
    home::Home,
    process::ProcessId,
    record::{self, Lock},
    state::{State, Status},
    store::{Container, Store},
    wire,
};

use self::{
    command::Command,
    protocol::{Mode, Order},
    run::{Ended, Run},
};

/// The control group of all monitors.
const GROUP: &str = "stasis/monitors";

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
    supervise(&container, mode, Command::new(control, lock))
}

/// A service manager ends all that was started in a login when that login ends, and at a shutdown it
/// does so before `system save` could freeze anything.
fn leave_login() {
    if let Err(error) = Cgroup::new(GROUP).enter() {
        tracing::warn!("the monitor stays in the control group of who started it: {error}");
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
