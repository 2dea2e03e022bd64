//! The launcher: a short-lived process of our own program that calls the runtime library.
//!
//! The library forks without executing anything, changes the caller's directory and its dumpable
//! flag: so it gets a process for itself, with one thread. What it starts becomes a child of the
//! launcher's parent. Descriptor 0 is the socket to that parent.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use libcontainer::{
    container::builder::ContainerBuilder,
    oci_spec::runtime::Spec,
    syscall::syscall::SyscallType,
    workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError},
};
use nix::fcntl::AtFlags;
use rustix::fs::Access;
use serde::{Deserialize, Serialize};
use stasis_enclosure::{
    cgroup::{Cgroup, Layout},
    loopback,
};

use crate::{
    confinement::{Compiled, Confinement},
    error::{Context, Error, Result},
    wait::exit_code,
    wire,
};

/// Exit codes of a shell for programs that could not be started.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// What to start. Descriptors come along: the status pipe, then standard input, output and error
/// unless there is a console.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub id: String,
    /// Where the runtime library keeps its state.
    pub runtime_root: PathBuf,
    pub console_socket: Option<PathBuf>,
    pub cgroup: String,
    pub log: PathBuf,
    pub start: Start,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Start {
    /// A new container; waits for [`Go`] before the program runs.
    Init { bundle: PathBuf, program: InitProgram, own_network: bool },
    /// One more process in a running container.
    Exec { process: PathBuf, confinement: Confinement },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InitProgram {
    OfSpec(Confinement),
    Blank,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Go;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The process is there. An init waits, an exec'd process has been executed.
    Created {
        pid: i32,
    },
    Released,
    Failed {
        message: String,
    },
}

/// What comes out of the status pipe if the program could not be executed; nothing if it could.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartFailure {
    pub code: i32,
    pub message: String,
}

impl StartFailure {
    /// What stands in the bytes of a status pipe that was read to its end.
    pub fn decode(bytes: &[u8]) -> Option<StartFailure> {
        if bytes.is_empty() {
            return None;
        }
        let garbled = || StartFailure { code: 125, message: "the launcher died".into() };
        Some(serde_json::from_slice(bytes).unwrap_or_else(|_| garbled()))
    }
}

impl From<StartFailure> for Error {
    fn from(failure: StartFailure) -> Error {
        Error::NotStarted { code: failure.code, message: failure.message }
    }
}

/// Body of `internal-launch`.
///
/// # Errors
/// What cannot be told to the parent, since the socket to it is broken.
pub fn main() -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("duplicate", "a socket")?;
    let null = File::open("/dev/null").context("open", "/dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("duplicate", "/dev/null")?;
    let Some((request, fds)) = wire::receive_with_fds::<Request>(&socket)? else { return Ok(()) };
    log_to(&request.log)?;
    if let Err(error) = launch(&request, fds, &socket) {
        wire::send(&socket, &Reply::Failed { message: error.to_string() })?;
    }
    Ok(())
}

/// The library logs from within the processes it makes: never to the program's standard error.
fn log_to(path: &Path) -> Result<()> {
    let file =
        File::options().create(true).append(true).open(path).context("open", path.display())?;
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::sync::Mutex::new(file))
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .finish();
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Error::invalid(error.to_string()))
}

fn open_log(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).context("open", path.display())
}

fn launch(request: &Request, fds: Vec<OwnedFd>, socket: &OwnedFd) -> Result<()> {
    let mut fds = fds.into_iter();
    let status = fds.next().ok_or_else(|| Error::invalid("the status pipe is missing"))?;
    let mut builder = ContainerBuilder::new(request.id.clone(), SyscallType::default())
        .with_root_path(&request.runtime_root)
        .map_err(runtime)?
        .with_console_socket(request.console_socket.as_ref());
    if let (Some(stdin), Some(stdout), Some(stderr)) = (fds.next(), fds.next(), fds.next()) {
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }
    match &request.start {
        Start::Init { bundle, program, own_network } => {
            let builder = match program {
                InitProgram::Blank => builder.with_executor(BlankExecutor::new(status)?),
                InitProgram::OfSpec(confinement) => {
                    builder.with_executor(ProgramExecutor::new(status, None, confinement)?)
                }
            };
            start_init(builder, request, bundle, *own_network, socket)
        }
        Start::Exec { process, confinement } => {
            let group = Cgroup::new(&request.cgroup).open_version_2()?;
            let executor = ProgramExecutor::new(status, group, confinement)?;
            start_exec(builder.with_executor(executor), process, socket)
        }
    }
}

fn start_init(
    builder: ContainerBuilder,
    request: &Request,
    bundle: &Path,
    own_network: bool,
    socket: &OwnedFd,
) -> Result<()> {
    join_version_2(&Cgroup::new(&request.cgroup))?;
    let mut container = builder
        .as_init(bundle)
        .with_systemd(false)
        .with_detach(true)
        .as_sibling(true)
        .build()
        .map_err(runtime)?;
    let pid = container.pid().ok_or_else(|| Error::invalid("the runtime gave no pid"))?.as_raw();
    if own_network {
        bring_up_loopback(pid)?;
    }
    wire::send(socket, &Reply::Created { pid })?;
    if wire::receive::<Go>(socket)?.is_some() {
        container.start().map_err(runtime)?;
        wire::send(socket, &Reply::Released)?;
    }
    Ok(())
}

/// On hybrid hosts the library leaves the version 2 tree alone. We go there ourselves, since what we
/// start inherits it and its control group namespace then begins there.
fn join_version_2(cgroup: &Cgroup) -> Result<()> {
    if cgroup.layout() != Layout::Hybrid {
        return Ok(());
    }
    match cgroup.open_version_2()? {
        Some(mut procs) => {
            procs.write_all(b"0").context("join", "the control group of the container")
        }
        None => Ok(()),
    }
}

fn bring_up_loopback(pid: i32) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).context("open", &path)?;
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).context("enter", &path)?;
    Ok(loopback::bring_up()?)
}

/// Starts the process and stays until it ends, since it is our child.
fn start_exec(builder: ContainerBuilder, process: &Path, socket: &OwnedFd) -> Result<()> {
    let pid = builder
        .as_tenant()
        .with_process(Some(process))
        .with_detach(true)
        .build()
        .map_err(runtime)?;
    wire::send(socket, &Reply::Created { pid: pid.as_raw() })?;
    let pid = rustix::process::Pid::from_raw(pid.as_raw());
    let options = rustix::process::WaitOptions::empty();
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(pid, options))
        .context("wait for", "the process")?;
    let code = ended.map_or(0, |(_, status)| exit_code(status));
    std::process::exit(code)
}

/// The library's errors tell their causes only when asked one after the other.
fn runtime(error: impl std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    Error::Invalid(format!("cannot create the container: {text}"))
}

/// Executes the program of the specification.
#[derive(Clone)]
struct ProgramExecutor {
    status: Rc<OwnedFd>,
    /// `cgroup.procs` of the version 2 group to move to.
    group: Option<Rc<File>>,
    confinement: Compiled,
}

impl ProgramExecutor {
    fn new(status: OwnedFd, group: Option<File>, confinement: &Confinement) -> Result<Self> {
        let confinement = confinement.compile()?;
        Ok(ProgramExecutor { status: Rc::new(status), group: group.map(Rc::new), confinement })
    }

    /// Returns only what went wrong.
    fn execute(&self, spec: &Spec) -> StartFailure {
        let refused = |message: String| StartFailure { code: NOT_EXECUTABLE, message };
        let process = spec.process().as_ref();
        let args = process.and_then(|p| p.args().clone()).unwrap_or_default();
        let env = process.and_then(|p| p.env().clone()).unwrap_or_default();
        let Some(name) = args.first() else { return refused("there is no program to run".into()) };
        let path = match find_program(name, &env) {
            Ok(path) => path,
            Err(failure) => return failure,
        };
        if let Some(Err(error)) = self.group.as_ref().map(|group| (&**group).write_all(b"0")) {
            return refused(format!("cannot join the control group: {error}"));
        }
        let (args, env) = (c_strings(&args), c_strings(&env));
        let Ok(c_path) = CString::new(path.as_os_str().as_bytes()) else {
            return refused("the program's name holds a zero byte".into());
        };
        stasis_sys::disposition::reset_all();
        if let Err(message) = self.confinement.apply() {
            return refused(message);
        }
        let Err(errno) = nix::unistd::execve(&c_path, &args, &env);
        not_executed(name, errno.into())
    }
}

impl Executor for ProgramExecutor {
    fn exec(&self, spec: &Spec) -> std::result::Result<(), ExecutorError> {
        give_up(&self.status, &self.execute(spec))
    }

    /// Left to [`Executor::exec`], which can tell the user what is wrong.
    fn validate(&self, _: &Spec) -> std::result::Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(
        &self,
        _: std::collections::HashMap<String, String>,
    ) -> std::result::Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// Executes the blank.
#[derive(Clone)]
struct BlankExecutor {
    status: Rc<OwnedFd>,
    blank: Rc<OwnedFd>,
}

impl BlankExecutor {
    fn new(status: OwnedFd) -> Result<Self> {
        let blank = stasis_engine::blank_program()
            .map_err(std::io::Error::from)
            .context("make", "the blank program")?;
        Ok(BlankExecutor { status: Rc::new(status), blank: Rc::new(blank) })
    }
}

impl Executor for BlankExecutor {
    fn exec(&self, _: &Spec) -> std::result::Result<(), ExecutorError> {
        stasis_sys::disposition::reset_all();
        let none: [&std::ffi::CStr; 0] = [];
        let Err(errno) =
            nix::unistd::execveat(&*self.blank, c"", &[c"blank"], &none, AtFlags::AT_EMPTY_PATH);
        give_up(&self.status, &not_executed("the blank", errno.into()))
    }

    fn validate(&self, _: &Spec) -> std::result::Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(
        &self,
        _: std::collections::HashMap<String, String>,
    ) -> std::result::Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// Tells the parent and ends: the library has no way to tell.
fn give_up(status: &OwnedFd, failure: &StartFailure) -> ! {
    if let Ok(text) = serde_json::to_vec(failure) {
        let _ = rustix::io::write(status, &text);
    }
    std::process::exit(failure.code)
}

fn c_strings(texts: &[String]) -> Vec<CString> {
    texts.iter().filter_map(|text| CString::new(text.as_bytes()).ok()).collect()
}

fn find_program(name: &str, env: &[String]) -> std::result::Result<PathBuf, StartFailure> {
    if name.contains('/') {
        return Ok(name.into());
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let is_program = |candidate: &PathBuf| {
        fs::metadata(candidate).is_ok_and(|meta| meta.is_file())
            && rustix::fs::access(candidate, Access::EXEC_OK).is_ok()
    };
    path.split(':').map(|dir| Path::new(dir).join(name)).find(is_program).ok_or_else(|| {
        StartFailure {
            code: NOT_FOUND,
            message: format!("exec: {name:?}: executable file not found in $PATH"),
        }
    })
}

fn not_executed(name: &str, error: std::io::Error) -> StartFailure {
    let is_missing = error.kind() == std::io::ErrorKind::NotFound;
    let code = if is_missing { NOT_FOUND } else { NOT_EXECUTABLE };
    StartFailure { code, message: format!("exec: {name:?}: {error}") }
}

/// A launcher as its parent sees it.
pub(crate) struct Launcher {
    pub socket: OwnedFd,
    /// Reads to its end when the program was executed or could not be.
    pub status: OwnedFd,
    pub child: std::process::Child,
}

impl Launcher {
    /// Starts a launcher with a request; `stdio` is empty if there is a console.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel.
    pub fn start(request: &Request, stdio: &[std::os::fd::BorrowedFd<'_>]) -> Result<Launcher> {
        let (ours, theirs) = wire::pair()?;
        let (status, status_writer) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make", "a pipe")?;
        // Not our own standard error: whoever waits for its end must not wait for the launcher's.
        let log = open_log(&request.log)?;
        let child = std::process::Command::new("/proc/self/exe")
            .arg("internal-launch")
            .stdin(theirs)
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .spawn()
            .context("start", "the launcher")?;
        let mut fds = vec![status_writer.as_fd()];
        fds.extend_from_slice(stdio);
        wire::send_with_fds(&ours, request, &fds)?;
        Ok(Launcher { socket: ours, status, child })
    }

    /// Waits until the process is there.
    ///
    /// # Errors
    /// [`Error::NotStarted`] with the reason.
    pub fn created(&self) -> Result<i32> {
        let failed = |message: String| Error::NotStarted { code: 125, message };
        match wire::receive::<Reply>(&self.socket)? {
            Some(Reply::Created { pid }) => Ok(pid),
            Some(Reply::Failed { message }) => Err(failed(message)),
            Some(Reply::Released) | None => Err(failed("the launcher died".into())),
        }
    }

    /// Reads the status pipe to its end: was the program executed?
    ///
    /// # Errors
    /// [`Error::NotStarted`] if not.
    pub fn executed(self) -> Result<std::process::Child> {
        let mut bytes = Vec::new();
        File::from(self.status).read_to_end(&mut bytes).context("read", "the status pipe")?;
        match StartFailure::decode(&bytes) {
            None => Ok(self.child),
            Some(failure) => Err(failure.into()),
        }
    }
}
