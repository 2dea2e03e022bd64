//! `checkpoint` and `rewind` as they are typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use stasis_container::Compression;
use stasis_engine::CpuCheck;

use super::host::cpu_check;

#[derive(Debug, Subcommand)]
pub enum CheckpointCommand {
    /// Freeze a running container to disk
    Create(CheckpointCreateArgs),
    /// List checkpoints, of one container or all
    #[command(visible_alias = "list")]
    Ls(CheckpointLsArgs),
    /// Show all about checkpoints as JSON
    Inspect(CheckpointInspectArgs),
    /// Remove checkpoints
    #[command(visible_alias = "remove")]
    Rm(CheckpointRmArgs),
    /// Remove checkpoints whose container is gone, or all but a few
    Prune(CheckpointPruneArgs),
    /// Give a checkpoint one more name, which keeps it from being pruned
    Tag(CheckpointTagArgs),
    /// Take tags away; the checkpoints stay
    Untag(CheckpointUntagArgs),
    /// Write a checkpoint as an archive in Podman's form
    Export(CheckpointExportArgs),
    /// Store the checkpoint of an archive
    Import(CheckpointImportArgs),
    /// Compare all files with their sums, and decode them
    Verify(CheckpointVerifyArgs),
    /// Tell whether checkpoints can be restored on this host, and why not
    Check(CheckpointCheckArgs),
    /// Show which processes, pages of memory and files differ between two checkpoints: those that were
    /// added (A), deleted (D) and changed (C)
    Diff(CheckpointDiffArgs),
}

#[derive(Debug, Args)]
pub struct CheckpointCreateArgs {
    /// Let the container run on
    #[arg(long)]
    pub leave_running: bool,
    /// Where to put the checkpoint, if not with all others
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,
    /// Print time per phase, bytes and tasks as JSON
    #[arg(long)]
    pub stats: bool,
    /// Keep established TCP connections (always done)
    #[arg(long)]
    pub tcp_established: bool,
    pub container: String,
    #[arg(value_name = "CHECKPOINT")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct CheckpointLsArgs {
    /// Of all containers, also of those that are gone
    #[arg(short, long, conflicts_with = "container")]
    pub all: bool,
    #[arg(long, value_name = "DIR", requires = "container", conflicts_with = "tree")]
    pub checkpoint_dir: Option<PathBuf>,
    /// Draw which came from which
    #[arg(long, conflicts_with_all = ["quiet", "format"])]
    pub tree: bool,
    /// name=, id=, container=, tag=, parent=, label=, until=, since=, dangling=
    #[arg(short, long)]
    pub filter: Vec<String>,
    /// Only ids, or names if a container is given
    #[arg(short, long)]
    pub quiet: bool,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// json, table, or a Go template
    #[arg(long)]
    pub format: Option<String>,
    pub container: Option<String>,
}

/// How checkpoints are referred to, in the help.
const REFERENCE: &str =
    "CONTAINER/NAME, a tag, a name that only one has, or the beginning of an id";

#[derive(Debug, Args)]
pub struct CheckpointInspectArgs {
    /// json, or a Go template
    #[arg(short, long)]
    pub format: Option<String>,
    #[arg(required = true, value_name = "CHECKPOINT", help = REFERENCE)]
    pub checkpoints: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckpointRmArgs {
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,
    /// A container and names of its checkpoints, or references as for inspect
    #[arg(required = true, value_name = "CONTAINER CHECKPOINT... | CHECKPOINT")]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckpointPruneArgs {
    /// Also those of containers that are still there
    #[arg(short, long)]
    pub all: bool,
    /// Those of all containers, but for the newest so many of each
    #[arg(long, value_name = "NUMBER")]
    pub keep_last: Option<usize>,
    /// The oldest of all containers until no more than that is left, such as 10g; the last ones that
    /// --keep-last names stay in any case
    #[arg(long, value_name = "BYTES")]
    pub max_size: Option<String>,
    /// until=, label=, label!=
    #[arg(long)]
    pub filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct CheckpointTagArgs {
    #[arg(help = REFERENCE)]
    pub checkpoint: String,
    pub tag: String,
}

#[derive(Debug, Args)]
pub struct CheckpointUntagArgs {
    #[arg(required = true, value_name = "TAG")]
    pub tags: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckpointExportArgs {
    /// Write to this file; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// How the archive is compressed: zstd, gzip or none; with a level behind a colon if wanted
    #[arg(short, long, value_name = "KIND[:LEVEL]")]
    pub compress: Option<Compression>,
    #[arg(help = REFERENCE)]
    pub checkpoint: String,
}

#[derive(Debug, Args)]
pub struct CheckpointImportArgs {
    /// Call it so
    #[arg(long)]
    pub name: Option<String>,
    /// An archive; - is standard input
    #[arg(value_name = "FILE")]
    pub archive: PathBuf,
}

#[derive(Debug, Args)]
pub struct CheckpointVerifyArgs {
    /// Only tell what is wrong
    #[arg(short, long)]
    pub quiet: bool,
    /// References as for inspect; all if there is none
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoints: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckpointCheckArgs {
    /// How much of the processor must be as it was: none, fpu, ins or cpu
    #[arg(long, value_name = "WHAT", default_value = "ins", value_parser = cpu_check)]
    pub cpu_cap: CpuCheck,
    #[arg(required = true, value_name = "CHECKPOINT", help = REFERENCE)]
    pub checkpoints: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckpointDiffArgs {
    /// json, or a Go template
    #[arg(short, long)]
    pub format: Option<String>,
    #[arg(value_name = "CHECKPOINT", help = REFERENCE)]
    pub first: String,
    #[arg(value_name = "CHECKPOINT")]
    pub second: String,
}

#[derive(Debug, Args)]
pub struct RewindArgs {
    /// Give the present run up at once; if going back fails, the container is stopped then. Without
    /// this it is kept until the container has gone back, and comes back if that fails
    #[arg(short, long, conflicts_with = "save")]
    pub force: bool,
    /// Keep the present run as a checkpoint of this name
    #[arg(long, value_name = "NAME")]
    pub save: Option<String>,
    /// Leave the contents of volumes as they are
    #[arg(long)]
    pub ignore_volumes: bool,
    /// Print time per phase, bytes and tasks as JSON
    #[arg(long)]
    pub stats: bool,
    pub container: String,
    /// The newest of the container if left out
    pub checkpoint: Option<String>,
}
