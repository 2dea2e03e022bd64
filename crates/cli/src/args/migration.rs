//! `container checkpoint` and `container restore`, with Podman's options.

use std::path::PathBuf;

use clap::Args;
use stasis_container::Compression;

use super::{host::HostArgs, registry::PullingArgs};

#[derive(Debug, Args)]
pub struct ContainerCheckpointArgs {
    /// All running containers
    #[arg(short, long, conflicts_with_all = ["containers", "latest"])]
    pub all: bool,
    /// The container that was created last
    #[arg(short, long, conflicts_with = "containers")]
    pub latest: bool,
    /// How the archive is compressed: zstd, gzip or none; with a level behind a colon if wanted
    #[arg(short, long, value_name = "KIND[:LEVEL]", requires = "export")]
    pub compress: Option<Compression>,
    /// Write the checkpoint to an archive, or to standard output if it is called -
    #[arg(short, long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Keep file locks (always done)
    #[arg(long)]
    pub file_locks: bool,
    /// Leave changes of the root file system out of the archive
    #[arg(long, requires = "export")]
    pub ignore_rootfs: bool,
    /// Leave the contents of volumes out of the archive
    #[arg(long, requires = "export")]
    pub ignore_volumes: bool,
    /// Keep the checkpoint also with the container when it was exported
    #[arg(short, long)]
    pub keep: bool,
    /// The container runs on
    #[arg(short = 'R', long)]
    pub leave_running: bool,
    /// Print what it took, as JSON
    #[arg(long)]
    pub print_stats: bool,
    /// Keep established TCP connections (always done)
    #[arg(long)]
    pub tcp_established: bool,
    /// Only write the memory, while the container runs on: the checkpoint after it is short
    #[arg(short = 'P', long, conflicts_with_all = ["with_previous", "ignore_rootfs", "ignore_volumes"])]
    pub pre_checkpoint: bool,
    /// Write only what changed since the pre-checkpoint
    #[arg(long)]
    pub with_previous: bool,
    /// Make an image of the checkpoint, which can be pushed and restored
    #[arg(long, value_name = "IMAGE")]
    pub create_image: Option<String>,
    /// Names or ids
    #[arg(required_unless_present_any = ["all", "latest"])]
    pub containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ContainerRestoreArgs {
    /// All containers that have a checkpoint
    #[arg(short, long, conflicts_with_all = ["containers", "latest", "import"])]
    pub all: bool,
    /// The container that was created last
    #[arg(short, long, conflicts_with_all = ["containers", "import"])]
    pub latest: bool,
    /// Keep file locks (always done)
    #[arg(long)]
    pub file_locks: bool,
    /// Do not bring back changes of the root file system
    #[arg(long)]
    pub ignore_rootfs: bool,
    /// Take any address in place of the one that --ip gave
    #[arg(long)]
    pub ignore_static_ip: bool,
    /// Take any hardware address in place of the one that --mac-address gave
    #[arg(long)]
    pub ignore_static_mac: bool,
    /// Do not bring back the contents of volumes
    #[arg(long)]
    pub ignore_volumes: bool,
    /// Read an archive, from standard input if it is called -
    #[arg(short, long, value_name = "FILE", conflicts_with = "containers")]
    pub import: Option<PathBuf>,
    /// Keep the checkpoint
    #[arg(short, long)]
    pub keep: bool,
    /// Make a new container of this name
    #[arg(short, long, conflicts_with_all = ["all", "latest"])]
    pub name: Option<String>,
    /// Another network in place of those from then, or none
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,
    /// Publish these ports in place of the ones from then
    #[arg(short, long, value_name = "[[IP:]HOST:]PORT[/PROTOCOL]")]
    pub publish: Vec<String>,
    #[command(flatten)]
    pub host: HostArgs,
    #[command(flatten)]
    pub pulling: PullingArgs,
    /// Print what it took, as JSON
    #[arg(long)]
    pub print_stats: bool,
    /// Keep all TCP connections, or fail; else they are kept where that is possible
    #[arg(long, conflicts_with_all = ["tcp_close", "name"])]
    pub tcp_established: bool,
    /// Close all TCP connections with a reset
    #[arg(long)]
    pub tcp_close: bool,
    #[arg(long, hide = true)]
    pub pod: Option<String>,
    /// The archive of the pre-checkpoint that the other one builds upon
    #[arg(long, requires = "import", value_name = "FILE")]
    pub import_previous: Option<PathBuf>,
    /// Names or ids of containers; CONTAINER/NAME, tags or ids of checkpoints; images of checkpoints
    #[arg(required_unless_present_any = ["all", "latest", "import"])]
    pub containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ContainerMigrateArgs {
    /// A command that reaches stasis there, in place of ssh: its streams lead to `container receive`
    #[arg(long, value_name = "COMMAND", required_unless_present = "dest", conflicts_with = "dest")]
    pub via: Option<String>,
    /// Most rounds of memory while the container runs
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    pub rounds: usize,
    /// A round that wrote less was the last one
    #[arg(long, value_name = "BYTES", default_value = "4m")]
    pub threshold: String,
    /// How what travels is compressed: zstd, gzip or none; with a level behind a colon if wanted
    #[arg(short, long, value_name = "KIND[:LEVEL]", default_value = "zstd:1")]
    pub compress: Compression,
    /// Make a new container of this name there
    #[arg(short, long)]
    pub name: Option<String>,
    /// Remove the container here when it runs there
    #[arg(long)]
    pub rm: bool,
    /// Take TCP connections along, all of them: the container must have its address there, and be reached
    /// under it. Without it they are reset
    #[arg(long)]
    pub tcp_established: bool,
    /// Print what it took, as JSON
    #[arg(long)]
    pub print_stats: bool,
    pub container: String,
    /// Host that runs stasis, as ssh(1) takes it
    #[arg(value_name = "[USER@]HOST")]
    pub dest: Option<String>,
}
