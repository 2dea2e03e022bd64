//! The command line as it is typed.

mod build;
pub mod change;
mod checkpoint;
pub mod clone;
mod connections;
pub mod health;
pub mod host;
mod image;
mod later;
pub mod migration;
mod network;
pub mod registry;
mod system;
mod volume;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use build::{BuildArgs, BuilderCommand, BuilderPruneArgs, ProgressStyle};
pub use checkpoint::{
    CheckpointCheckArgs, CheckpointCommand, CheckpointCreateArgs, CheckpointDiffArgs,
    CheckpointExportArgs, CheckpointImportArgs, CheckpointInspectArgs, CheckpointLsArgs,
    CheckpointPruneArgs, CheckpointRmArgs, CheckpointTagArgs, CheckpointVerifyArgs, RewindArgs,
};
pub use connections::ConnectionArgs;
pub use image::{
    HistoryArgs, ImageCommand, ImageInspectArgs, ImageLsArgs, ImagePruneArgs, ImageRmArgs,
    ImagesCommand, ImportArgs, LoadArgs, SaveArgs, SaveFormat, TagArgs, TopImageCommand,
};
pub use later::Later;
pub use network::{
    NetworkArgs, NetworkCommand, NetworkConnectArgs, NetworkCreateArgs, NetworkDisconnectArgs,
    NetworkInspectArgs, NetworkLsArgs, NetworkPruneArgs, NetworkRmArgs, PortArgs,
};
pub use system::{DfArgs, SystemCommand, SystemPruneArgs, SystemResumeArgs, SystemSaveArgs};
pub use volume::{
    VolumeCommand, VolumeCreateArgs, VolumeInspectArgs, VolumeLsArgs, VolumePruneArgs, VolumeRmArgs,
};

/// Containers that can be frozen to disk and started again at the same instruction.
#[derive(Debug, Parser)]
#[command(name = "stasis", version, disable_help_subcommand = true)]
pub struct Cli {
    /// State that outlives a reboot
    #[arg(long, global = true, default_value = "/var/lib/stasis", env = "STASIS_ROOT")]
    pub root: PathBuf,
    /// State that must not outlive a reboot
    #[arg(long, global = true, default_value = "/run/stasis", env = "STASIS_RUNROOT")]
    pub runroot: PathBuf,
    /// How large a layer of an image may be unpacked, such as 100g; 64g, but not from a few megabytes
    #[arg(long, global = true, value_name = "BYTES", env = "STASIS_MAX_LAYER_SIZE")]
    pub max_layer_size: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, default_value = "warn")]
    pub log_level: tracing::Level,
    /// More messages; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Container(ContainerCommand),
    /// The same verbs, as `stasis container VERB`
    #[command(name = "container", subcommand)]
    Containers(Later<ContainersCommand>),
    #[command(flatten)]
    Registry(registry::RegistryCommand),
    #[command(flatten)]
    Image(TopImageCommand),
    /// Manage images
    #[command(name = "image", subcommand)]
    Images(Later<ImagesCommand>),
    /// Look after what lies on the disk
    #[command(subcommand)]
    System(Later<SystemCommand>),
    /// Manage checkpoints
    #[command(subcommand)]
    Checkpoint(Later<CheckpointCommand>),
    /// Make new containers from a checkpoint, or from a running container as it is now
    Clone(Later<clone::CloneArgs>),
    /// Build images, and manage what is kept for later builds
    #[command(subcommand)]
    Builder(Later<BuilderCommand>),
    /// Manage volumes
    #[command(subcommand)]
    Volume(Later<VolumeCommand>),
    /// Manage the networks of containers
    #[command(subcommand)]
    Network(Later<NetworkCommand>),
    /// Freeze and resume plain process trees
    #[command(subcommand)]
    Process(Later<ProcessCommand>),
    /// Print a completion script for a shell
    Completion { shell: Shell },
    #[command(hide = true)]
    InternalLaunch,
    #[command(hide = true)]
    InternalInit {
        #[arg(last = true)]
        args: Vec<String>,
    },
}

impl Command {
    /// Does it look at containers or images? Our own helper processes have been told all they need.
    pub fn looks_at_containers(&self) -> bool {
        !matches!(
            self,
            Command::Process(_)
                | Command::Completion { .. }
                | Command::InternalLaunch
                | Command::InternalInit { .. }
        )
    }
}

// One of them is made per run of the program.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum ContainersCommand {
    #[command(flatten)]
    Verb(ContainerCommand),
    /// List containers
    #[command(visible_alias = "list")]
    Ls(PsArgs),
    /// Remove all containers that do not run
    Prune(change::ContainerPruneArgs),
    /// Freeze containers to disk, or into an archive
    Checkpoint(migration::ContainerCheckpointArgs),
    /// Bring containers back that were frozen, or a new one from an archive
    Restore(migration::ContainerRestoreArgs),
    /// Move a running container to another host
    Migrate(migration::ContainerMigrateArgs),
    /// Take a container from the other end of standard input and output
    #[command(hide = true)]
    Receive,
}

#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    /// Create a container and start it
    Run(Later<RunArgs>),
    /// Create a container
    Create(Later<CreateArgs>),
    /// Start stopped containers, from their beginning or from a checkpoint
    Start(Later<StartArgs>),
    /// Put a container back to a checkpoint, files and volumes included, also while it runs
    Rewind(Later<RewindArgs>),
    /// Stop running containers
    Stop(Later<StopArgs>),
    /// Send a signal to containers
    Kill(Later<KillArgs>),
    /// Stop containers and start them again
    Restart(Later<StopArgs>),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(Later<RmArgs>),
    /// List containers
    Ps(Later<PsArgs>),
    /// Show what a container has printed
    Logs(Later<LogsArgs>),
    /// Run one more program in a running container
    Exec(Later<ExecArgs>),
    /// Connect the terminal to a running container
    Attach(Later<AttachArgs>),
    /// Show all about containers or images as JSON
    Inspect(Later<InspectArgs>),
    /// Wait until containers stop, and print their exit codes
    Wait(Later<Containers>),
    /// Let all processes of containers stand still
    Pause(Later<Containers>),
    /// Let paused containers run on
    Unpause(Later<Containers>),
    /// Show the processes of a container
    Top(Later<TopArgs>),
    /// Show where the ports of a container are published
    Port(Later<PortArgs>),
    /// Make an image of what a container has become
    Commit(Later<change::CommitArgs>),
    /// List the files that a container has changed (C), added (A) and deleted (D)
    Diff(Later<change::DiffArgs>),
    /// Copy files between a container and the host
    Cp(Later<change::CpArgs>),
    /// Write the root file system of a container as a tar
    Export(Later<change::ExportArgs>),
    /// Give a container another name
    Rename(Later<change::RenameArgs>),
    /// Change limits and the restart policy of containers
    Update(Later<change::UpdateArgs>),
}

#[derive(Debug, Args)]
pub struct Containers {
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run in the background and print the id
    #[arg(short, long)]
    pub detach: bool,
    /// Keys that detach the terminal
    #[arg(long, default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
    #[command(flatten)]
    pub create: CreateArgs,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    pub pulling: registry::PullingArgs,
    #[command(flatten)]
    pub health: health::HealthArgs,
    /// Run on this directory instead of an image; with :O changes go to the container and not to the directory
    #[arg(long, value_name = "DIR[:O]")]
    pub rootfs: Option<String>,
    /// Name of the container
    #[arg(long)]
    pub name: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Remove the container when it stops
    #[arg(long)]
    pub rm: bool,
    /// Set a variable; without value it is taken from here
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User, and group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Host name of the container
    #[arg(long)]
    pub hostname: Option<String>,
    /// Program that takes the command as its arguments
    #[arg(long)]
    pub entrypoint: Option<String>,
    /// Mount a volume, or a directory of the host
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub volume: Vec<String>,
    /// Mount something, such as type=volume,source=name,target=/a
    #[arg(long)]
    pub mount: Vec<String>,
    /// Mount all that another container has mounted
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub volumes_from: Vec<String>,
    /// Mount an empty file system in memory
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub tmpfs: Vec<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Add capabilities
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_add: Vec<String>,
    /// Drop capabilities
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_drop: Vec<String>,
    /// Give all capabilities and devices
    #[arg(long)]
    pub privileged: bool,
    /// seccomp=unconfined, seccomp=FILE, no-new-privileges
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Limit of memory, such as 512m
    #[arg(short, long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Limit of processors, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<String>,
    /// Limit of the number of tasks
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Limits of resources, such as nofile=1024:4096
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// Signal that asks the program to end
    #[arg(long)]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL
    #[arg(long, allow_negative_numbers = true)]
    pub stop_timeout: Option<i64>,
    /// no, always, unless-stopped, on-failure[:NUMBER]
    #[arg(long, default_value = "no")]
    pub restart: String,
    /// Attach a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Write the id to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Run a small init that passes signals on and reaps processes
    #[arg(long)]
    pub init: bool,
    /// Image, command and arguments; no image with --rootfs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "IMAGE] [COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StartArgs {
    /// Print what the container prints, and pass signals on
    #[arg(short, long)]
    pub attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    pub interactive: bool,
    /// Keys that detach the terminal
    #[arg(long, default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
    /// Go on from this checkpoint
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
    /// Where the checkpoint lies, if not with all others
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,
    /// How much of the processor must be as it was: none, fpu, ins or cpu
    #[arg(long, value_name = "WHAT", default_value = "ins", value_parser = host::cpu_check)]
    pub cpu_cap: stasis_engine::CpuCheck,
    /// Keep all TCP connections of the checkpoint, or fail; else they are kept where that is possible
    #[arg(long, requires = "checkpoint", conflicts_with = "tcp_close")]
    pub tcp_established: bool,
    /// Close all TCP connections of the checkpoint with a reset
    #[arg(long, requires = "checkpoint")]
    pub tcp_close: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Seconds between the signal and SIGKILL; -1 waits for ever
    #[arg(short, long, visible_short_alias = 't', alias = "time", allow_negative_numbers = true)]
    pub timeout: Option<i64>,
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct KillArgs {
    #[arg(short, long, default_value = "KILL")]
    pub signal: String,
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Kill containers that run
    #[arg(short, long)]
    pub force: bool,
    /// Remove also the volumes that nobody named
    #[arg(short, long)]
    pub volumes: bool,
    /// Remove also the checkpoints that were taken of them, but for those with a tag
    #[arg(long)]
    pub checkpoints: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PsArgs {
    /// Also those that do not run
    #[arg(short, long)]
    pub all: bool,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Whole ids and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// The last created ones, whatever they do
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub last: Option<usize>,
    /// The last created one, whatever it does
    #[arg(short, long)]
    pub latest: bool,
    /// name=, id=, status=, label=, exited=, network=, volume=, health=
    #[arg(short, long)]
    pub filter: Vec<String>,
    /// json, table, or a Go template
    #[arg(long)]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on until the container stops
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many lines from the end
    #[arg(short = 'n', long, default_value = "all")]
    pub tail: String,
    /// Only what is younger, such as 10m or 2026-01-02T13:00:00Z
    #[arg(long)]
    pub since: Option<String>,
    /// Only what is older
    #[arg(long)]
    pub until: Option<String>,
    /// Show the time of each line
    #[arg(short, long)]
    pub timestamps: bool,
    pub container: String,
}

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Run in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Keys that detach the terminal
    #[arg(long, default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
    /// Set a variable; without value it is taken from here
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Pass standard input on
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Give all capabilities
    #[arg(long)]
    pub privileged: bool,
    /// User, and group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    pub container: String,
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Keys that detach the terminal
    #[arg(long, default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
    /// Do not pass standard input on
    #[arg(long)]
    pub no_stdin: bool,
    /// Pass signals on
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub sig_proxy: bool,
    pub container: String,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// json, or a Go template
    #[arg(short, long)]
    pub format: Option<String>,
    /// Look only among these
    #[arg(long = "type", value_enum)]
    pub kind: Option<Inspected>,
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Inspected {
    Container,
    Image,
}

#[derive(Debug, Args)]
pub struct TopArgs {
    pub container: String,
}

#[derive(Debug, Subcommand)]
pub enum ProcessCommand {
    /// Freeze a tree of processes to disk
    Dump(DumpArgs),
    /// Write the memory of a tree of processes that runs on, so that the dump after it is short
    PreDump(PreDumpArgs),
    /// Bring a tree of processes back
    Restore(RestoreArgs),
    /// Tell what would stand in the way of a dump
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Root of the tree
    #[arg(short, long, value_name = "PID")]
    pub tree: i32,
    /// Where the checkpoint goes
    #[arg(short = 'D', long, value_name = "DIR", default_value = ".")]
    pub images_dir: PathBuf,
    /// Let the tree run on
    #[arg(short = 'R', long, conflicts_with = "leave_stopped")]
    pub leave_running: bool,
    /// Leave the tree stopped
    #[arg(short = 's', long)]
    pub leave_stopped: bool,
    /// Write only what changed since this pre-dump; relative to the images directory
    #[arg(long, value_name = "DIR")]
    pub prev_images_dir: Option<PathBuf>,
    #[command(flatten)]
    pub connections: ConnectionArgs,
    #[command(flatten)]
    pub common: ProcessArgs,
}

#[derive(Debug, Args)]
pub struct PreDumpArgs {
    /// Root of the tree
    #[arg(short, long, value_name = "PID")]
    pub tree: i32,
    /// Where the memory goes
    #[arg(short = 'D', long, value_name = "DIR", default_value = ".")]
    pub images_dir: PathBuf,
    /// Write only what changed since this pre-dump; relative to the images directory
    #[arg(long, value_name = "DIR")]
    pub prev_images_dir: Option<PathBuf>,
    /// Note what the tree writes to from now on (always done)
    #[arg(long)]
    pub track_mem: bool,
    #[command(flatten)]
    pub connections: ConnectionArgs,
    #[command(flatten)]
    pub common: ProcessArgs,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Where the checkpoint lies
    #[arg(short = 'D', long, value_name = "DIR", default_value = ".")]
    pub images_dir: PathBuf,
    /// Do not wait for the tree
    #[arg(short = 'd', long)]
    pub restore_detached: bool,
    /// Write the pid of the root to this file
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    #[command(flatten)]
    pub host: host::HostArgs,
    #[command(flatten)]
    pub connections: ConnectionArgs,
    #[command(flatten)]
    pub common: ProcessArgs,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Root of the tree
    #[arg(short, long, value_name = "PID")]
    pub tree: i32,
    #[command(flatten)]
    pub connections: ConnectionArgs,
}

#[derive(Debug, Args)]
pub struct ProcessArgs {
    /// Session, group and terminal of the root may lie outside the tree
    #[arg(short = 'j', long)]
    pub shell_job: bool,
    /// Write messages to this file, in the images directory if relative
    #[arg(short = 'o', long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// More messages: -v3 and -vvv are the same
    #[arg(short = 'v', num_args = 0..=1, default_missing_value = "1", require_equals = false, action = clap::ArgAction::Append, value_parser = parse_level, value_name = "LEVEL")]
    pub verbosity: Vec<u8>,
    /// Print time per phase, bytes and tasks as JSON
    #[arg(long, visible_alias = "display-stats")]
    pub stats: bool,
}

/// `-vvv` reaches us as the value `vv`.
fn parse_level(text: &str) -> Result<u8, String> {
    if text.bytes().all(|byte| byte == b'v') {
        return u8::try_from(text.len() + 1).map_err(|error| error.to_string());
    }
    text.parse().map_err(|_| format!("{text:?} is not a level of verbosity"))
}

impl ProcessArgs {
    /// CRIU's levels: 1 errors, 2 warnings, 3 information, 4 everything.
    pub fn level(&self) -> tracing::Level {
        match self.verbosity.iter().fold(0u8, |sum, level| sum.saturating_add(*level)) {
            0 | 2 => tracing::Level::WARN,
            1 => tracing::Level::ERROR,
            3 => tracing::Level::INFO,
            _ => tracing::Level::DEBUG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_command_belongs_to_the_command() {
        let cli =
            Cli::parse_from(["stasis", "run", "--rootfs", "/:O", "sh", "-c", "x", "--name", "y"]);
        let Command::Container(ContainerCommand::Run(run)) = cli.command else { panic!() };
        assert_eq!(run.create.command, ["sh", "-c", "x", "--name", "y"]);
        assert_eq!(run.create.name, None);
    }

    fn level(flags: &[&str]) -> tracing::Level {
        let args = [&["stasis", "process", "dump", "-t", "1"], flags].concat();
        let Command::Process(Later(ProcessCommand::Dump(dump))) = Cli::parse_from(args).command
        else {
            panic!()
        };
        dump.common.level()
    }

    #[test]
    fn verbosity_as_criu_takes_it() {
        assert_eq!(level(&[]), tracing::Level::WARN);
        assert_eq!(level(&["-v3"]), tracing::Level::INFO);
        assert_eq!(level(&["-v4"]), tracing::Level::DEBUG);
        assert_eq!(level(&["-vvv"]), tracing::Level::INFO);
        assert_eq!(level(&["-v", "-D", "/x"]), tracing::Level::ERROR);
    }
}
