//! `RUN`: a command in a container on the stage's layers.

use std::{collections::BTreeMap, os::fd::BorrowedFd, path::Path};

use jiff::Timestamp;
use stasis_container::{
    Container, Removal, Store, VolumesOf,
    attach::Ended,
    config::{
        Config, Limits, Network as Reach, NetworkOptions, RestartPolicy, Rootfs, RootfsAccess,
        Seccomp, Security, Stop,
    },
    log::Stream,
};
use stasis_dockerfile::{RunNetwork, Script};

use crate::{
    error::{Error, Result},
    mounts::Mounts,
    request::Network,
    settings,
    stage::Stage,
};

const HOSTNAME: &str = "buildkitsandbox";
const SIGTERM: i32 = 15;

/// A command that is ready to be executed.
pub(crate) struct Command<'a> {
    pub stage: &'a Stage,
    pub args: Vec<String>,
    pub network: Reach,
    pub mounts: &'a Mounts,
}

/// Program and arguments; `program` is where a heredoc that is a program is seen.
pub(crate) fn arguments(script: &Script, stage: &Stage, program: &Path) -> Vec<String> {
    match script {
        Script::Shell(text) => {
            settings::shell(&stage.config.config).into_iter().chain([text.clone()]).collect()
        }
        Script::Program(_) => vec![program.to_string_lossy().into_owned()],
        Script::Exec(words) => words.clone(),
    }
}

/// What the instruction says stands above what the caller says.
pub(crate) fn network(of_run: RunNetwork, default: Network) -> Reach {
    match (of_run, default) {
        (RunNetwork::None, _) | (RunNetwork::Default, Network::None) => Reach::None,
        (RunNetwork::Host, _) | (RunNetwork::Default, Network::Host) => Reach::Host,
    }
}

impl Command<'_> {
    /// Executes the command on the root file system at `rootfs` and waits for its end.
    ///
    /// # Errors
    /// [`Error::Exit`] if it fails, [`Error::Interrupted`] if `interrupt` becomes readable before.
    pub fn execute(
        &self,
        rootfs: &Path,
        containers: &Store,
        interrupt: BorrowedFd<'_>,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<()> {
        let container = containers.create(self.config(rootfs))?;
        let ended = run(&container, interrupt, output);
        let removed = container.remove(Removal::Kill, VolumesOf::Remove);
        let ended = ended?;
        removed?;
        match ended {
            Ended::Exited(0) => Ok(()),
            Ended::Exited(code) => Err(Error::Exit { code }),
            Ended::Detached => Err(Error::Interrupted),
            Ended::Lost => Err(Error::invalid("the command was lost: its monitor died")),
        }
    }

    fn config(&self, rootfs: &Path) -> Config {
        let image = &self.stage.config.config;
        Config {
            id: String::new(),
            name: String::new(),
            created: Timestamp::now(),
            rootfs: Rootfs::Directory { dir: rootfs.to_owned(), access: RootfsAccess::Direct },
            args: self.args.clone(),
            entrypoint: None,
            env: self.environment(),
            cwd: self.stage.workdir().to_string_lossy().into_owned(),
            user: image.user.clone(),
            hostname: HOSTNAME.to_owned(),
            tty: false,
            stdin_open: false,
            labels: BTreeMap::new(),
            mounts: self.mounts.list.clone(),
            read_only: false,
            network: self.network.clone(),
            network_options: NetworkOptions::default(),
            init: false,
            security: Security {
                cap_add: Vec::new(),
                cap_drop: Vec::new(),
                privileged: false,
                no_new_privileges: false,
                seccomp: Seccomp::Default,
            },
            limits: Limits::default(),
            stop: Stop { signal: SIGTERM, timeout_s: 0 },
            restart: RestartPolicy::No,
            auto_remove: false,
            volumes_from: Vec::new(),
            exposed_ports: Vec::new(),
            healthcheck: None,
        }
    }

    fn environment(&self) -> Vec<String> {
        let scope = &self.stage.scope;
        let pairs = scope.proxies().into_iter().chain(scope.run_args());
        let pairs = pairs.chain(scope.env().iter().cloned());
        let env = pairs.map(|(name, value)| format!("{name}={value}"));
        env.chain(self.mounts.env.iter().cloned()).collect()
    }
}

fn run(
    container: &Container,
    interrupt: BorrowedFd<'_>,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<Ended> {
    let starting = container.begin_start()?;
    let session = container.attach()?;
    starting.release()?;
    Ok(session.follow(interrupt, output)?)
}
