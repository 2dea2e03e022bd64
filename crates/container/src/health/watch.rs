//! Who runs the checks of a container: a process of our own for each run of it, so that the monitor never
//! waits. It ends when init does.

use std::{
    fs::File,
    io::{Read, Seek},
    os::fd::OwnedFd,
    time::Instant,
};

use jiff::Timestamp;

use super::{Check, Health, Probe};
use crate::{
    error::{Context, Result},
    exec::ExecOptions,
    home::Home,
    process::ProcessId,
    record::Lock,
    state::Status,
    store::{Container, Store},
    wait::wait_readable,
};

/// So much is remembered of what a probe printed.
const MAX_OUTPUT_BYTES: u64 = 4096;

impl Container {
    /// Has it a check that runs something?
    pub(crate) fn is_checked(&self) -> bool {
        self.config.healthcheck.as_ref().and_then(Check::of).is_some()
    }

    /// Held while a probe runs, and by who wants none to run.
    pub(crate) fn probe_lock(&self) -> Result<Lock> {
        Ok(Lock::take(&self.place.dir.join("probe.lock"))?)
    }
}

/// Body of `internal-health`: looks after a container until its init has ended.
///
/// # Errors
/// What kept it from its work, such as that the container was removed.
pub fn main(home: Home, id: &str) -> Result<()> {
    let container = Store::new(home).open(id)?;
    let Some(check) = container.config.healthcheck.as_ref().and_then(Check::of) else {
        return Ok(());
    };
    let Some(init) = container.state()?.init else { return Ok(()) };
    let Some(init_fd) = init.open() else { return Ok(()) };
    let watch = Watch { container, check, init, init_fd, begun: Instant::now() };
    watch.run()
}

struct Watch {
    container: Container,
    check: Check,
    init: ProcessId,
    init_fd: OwnedFd,
    begun: Instant,
}

impl Watch {
    fn run(&self) -> Result<()> {
        loop {
            let phase = self.check.phase(self.begun.elapsed());
            if wait_readable(&self.init_fd, Some(self.check.pause(phase)))? {
                return Ok(());
            }
            // While it stands still it cannot answer.
            if self.container.state()?.status == Status::Running {
                self.look()?;
            }
        }
    }

    fn look(&self) -> Result<()> {
        let lock = self.container.probe_lock()?;
        let start = Timestamp::now();
        let (exit_code, output) = self.probe().unwrap_or_else(|error| (-1, error.to_string()));
        let probe = Probe { start, end: Timestamp::now(), exit_code, output };
        drop(lock);
        let phase = self.check.phase(self.begun.elapsed());
        self.container.update(|state| {
            // The next run of the container has a watch of its own.
            if state.init.as_ref() == Some(&self.init) {
                let health = state.health.get_or_insert_with(Health::starting);
                health.take(probe, phase, self.check.retries);
            }
        })
    }

    fn probe(&self) -> Result<(i32, String)> {
        let memory = rustix::fs::memfd_create("probe", rustix::fs::MemfdFlags::CLOEXEC);
        let mut output = File::from(memory.context("make", "a memory file")?);
        let options = ExecOptions {
            args: self.check.args.clone(),
            env: Vec::new(),
            cwd: None,
            user: None,
            privileged: false,
            tty: false,
            stdin: false,
            detach: false,
            detach_keys: Vec::new(),
        };
        match self.container.exec_for(&options, &output, self.check.timeout)? {
            None => {
                let timeout = self.check.timeout;
                Ok((-1, format!("Health check exceeded timeout ({timeout:?})")))
            }
            Some(code) => {
                output.rewind().context("read", "what a health check printed")?;
                let mut bytes = Vec::new();
                let read = output.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
                read.context("read", "what a health check printed")?;
                Ok((code, String::from_utf8_lossy(&bytes).into_owned()))
            }
        }
    }
}
