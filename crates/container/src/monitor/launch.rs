//! How a monitor has init made: by a launcher, with one of our streams at each of its ends.

use std::os::fd::AsFd;

use super::streams::Streams;
use crate::{
    console::accept_console,
    error::{Context, Result},
    launcher::{Launcher, Request},
    place::listen_at,
    store::Container,
};

/// Starts the launcher; returns it with our ends of the streams, their names, and init's pid.
pub(super) fn launch(
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
