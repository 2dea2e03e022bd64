//! `exec`: one more program in a container that runs.
//!
//! It gets the caller's own standard streams, or a console of its own; nobody else is between. Its
//! launcher is its parent and ends with its exit code.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::DirBuilderExt},
    path::Path,
    time::Duration,
};

use serde_json::json;

use crate::{
    attach::{self, Ended, Proxy},
    bundle,
    confinement::Confinement,
    console::accept_console,
    error::{Context, Error, Result},
    launcher::{Launcher, Request, Start},
    place::listen_at,
    process::ProcessId,
    record,
    spec::{self, cgroup_name},
    state::Status,
    store::Container,
    user,
    wait::wait_readable,
};

/// What to run and how.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    pub privileged: bool,
    pub tty: bool,
    pub stdin: bool,
    pub detach: bool,
    pub detach_keys: Vec<u8>,
}

impl Container {
    /// Runs a program in the container and gives its exit code; 0 at once if detached.
    ///
    /// # Errors
    /// [`Error::WrongState`] if the container does not run, [`Error::NotStarted`] if the program
    /// cannot be.
    pub fn exec(&self, options: &ExecOptions) -> Result<i32> {
        let init = self.running_init()?;
        self.in_session(&init, |session| {
            let request = self.exec_request(options, init.pid, session)?;
            if options.tty {
                exec_on_console(&request, options)
            } else {
                exec_on_streams(&request, options)
            }
        })
    }

    /// Runs a program whose output goes to a file, and kills it if it does not end in time: then there
    /// is no exit code.
    ///
    /// # Errors
    /// As [`Container::exec`].
    pub(crate) fn exec_for(
        &self,
        options: &ExecOptions,
        output: &File,
        timeout: Duration,
    ) -> Result<Option<i32>> {
        let init = self.running_init()?;
        self.in_session(&init, |session| {
            let request = self.exec_request(options, init.pid, session)?;
            let null = open_null()?;
            let ends = [null.as_fd(), output.as_fd(), output.as_fd()];
            let launcher = Launcher::start(&request, &ends)?;
            let program = ProcessId::probe(launcher.created()?);
            let child = launcher.executed()?;
            let launcher = ProcessId::probe(i32::try_from(child.id()).unwrap_or(0));
            let is_over = match launcher.as_ref().and_then(ProcessId::open) {
                Some(launcher) => wait_readable(&launcher, Some(timeout))?,
                None => true,
            };
            if let Some(program) = program.filter(|_| !is_over) {
                program.kill_group()?;
            }
            let code = exit_code_of(child)?;
            Ok(is_over.then_some(code))
        })
    }

    /// Gives what is done a directory of its own: two sessions may begin at once.
    fn in_session<T>(&self, init: &ProcessId, act: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let session = self.place.run.join(format!("exec-{}", std::process::id()));
        // Only inside the directory of a run: what is made after its end stays for ever.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&session)
            .map_err(|_| self.wrong_state("is not running"))?;
        let done = act(&session);
        record::remove_tree(&session)?;
        match done {
            // Whatever failed, it failed since init has died meanwhile.
            Err(_) if !init.is_whole() => Err(self.wrong_state("is not running")),
            other => other,
        }
    }

    fn running_init(&self) -> Result<ProcessId> {
        let state = self.state()?;
        match (state.status, state.init) {
            (Status::Paused, _) => Err(self.wrong_state("is paused: unpause it before exec")),
            (Status::Running, Some(init)) if init.is_whole() => Ok(init),
            _ => Err(self.wrong_state("is not running")),
        }
    }

    fn exec_request(&self, options: &ExecOptions, pid: i32, session: &Path) -> Result<Request> {
        let process = session.join("process.json");
        record::write(&process, &self.exec_process(options, pid)?)?;
        let mut security = self.config.security.clone();
        security.privileged |= options.privileged;
        Ok(Request {
            id: self.config.id.clone(),
            runtime_root: self.home.runtime(),
            console_socket: options.tty.then(|| session.join("console.sock")),
            cgroup: cgroup_name(&self.config.id),
            log: self.place.launcher_log(),
            start: Start::Exec { process, confinement: Confinement::of(&security)? },
        })
    }

    fn exec_process(&self, options: &ExecOptions, pid: i32) -> Result<serde_json::Value> {
        let config = &self.config;
        let rootfs = std::path::PathBuf::from(format!("/proc/{pid}/root"));
        let user = user::look_up(&rootfs, options.user.as_deref().unwrap_or(&config.user))?;
        let mut env = spec::environment(config, &user.home);
        if options.tty {
            env = spec::merge_environment(env, &["TERM=xterm".into()]);
        }
        let cwd = options.cwd.as_deref().unwrap_or(&config.cwd);
        bundle::check_cwd(cwd)?;
        Ok(json!({
            "terminal": options.tty,
            "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.additional },
            "args": options.args,
            "env": spec::merge_environment(env, &options.env),
            "cwd": cwd,
        }))
    }
}

fn open_null() -> Result<File> {
    File::options().read(true).write(true).open("/dev/null").context("open", "/dev/null")
}

fn exec_on_streams(request: &Request, options: &ExecOptions) -> Result<i32> {
    let null = open_null()?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let ends = match (options.detach, options.stdin) {
        (true, _) => [null.as_fd(), null.as_fd(), null.as_fd()],
        (false, true) => [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        (false, false) => [null.as_fd(), stdout.as_fd(), stderr.as_fd()],
    };
    let launcher = Launcher::start(request, &ends)?;
    launcher.created()?;
    let child = launcher.executed()?;
    if options.detach { Ok(0) } else { exit_code_of(child) }
}

fn exec_on_console(request: &Request, options: &ExecOptions) -> Result<i32> {
    let Some(path) = &request.console_socket else {
        return Err(Error::invalid("there is no console socket"));
    };
    let listener = listen_at(path)?;
    let launcher = Launcher::start(request, &[])?;
    launcher.created()?;
    let master = accept_console(&listener)?;
    let child = launcher.executed()?;
    if options.detach {
        return Ok(0);
    }
    let proxy = Proxy {
        stdin: options.stdin,
        tty: true,
        signals: false,
        detach_keys: options.detach_keys.clone(),
    };
    match attach::proxy_console(master, &proxy)? {
        Ended::Detached => Ok(0),
        Ended::Exited(_) | Ended::Lost => exit_code_of(child),
    }
}

fn exit_code_of(mut child: std::process::Child) -> Result<i32> {
    let status = child.wait().context("wait for", "the program")?;
    Ok(status.code().unwrap_or(255))
}
