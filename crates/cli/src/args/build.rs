//! `build` and `builder` as they are typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::registry::AccessArgs;

#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The Dockerfile; - reads it from standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<String>,
    /// Name of the image
    #[arg(short, long, value_name = "NAME[:TAG]")]
    pub tag: Vec<String>,
    /// Value of an ARG; without value it is taken from here
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub build_arg: Vec<String>,
    /// Stop at this stage
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Do all steps, also those that were done before
    #[arg(long)]
    pub no_cache: bool,
    /// Look for newer versions of the base images
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "missing", default_missing_value = "always", hide_default_value = true)]
    pub pull: String,
    /// Attach a label to the image
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Let commands read a secret: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long)]
    pub secret: Vec<String>,
    /// One layer for all that the build changes
    #[arg(long)]
    pub squash: bool,
    /// Platform of the image, such as linux/amd64
    #[arg(long, env = "DOCKER_DEFAULT_PLATFORM")]
    pub platform: Option<String>,
    /// Write the id of the image to this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Print only the id of the image
    #[arg(short, long)]
    pub quiet: bool,
    /// How to tell of the steps
    #[arg(long, value_enum, default_value_t = ProgressStyle::Auto)]
    pub progress: ProgressStyle,
    /// What commands reach: default, host or none
    #[arg(long, default_value = "default")]
    pub network: String,
    /// A line for /etc/hosts of commands
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<String>,
    /// Accepted for the sake of scripts: nothing is ever left of a step
    #[arg(long, hide = true)]
    pub force_rm: bool,
    /// Accepted for the sake of scripts: nothing is ever left of a step
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub rm: Option<String>,
    #[command(flatten)]
    pub access: AccessArgs,
    /// Directory with the files, or - for a Dockerfile or an archive on standard input
    #[arg(value_name = "PATH | -")]
    pub context: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    Auto,
    Plain,
    Tty,
    Quiet,
}

// One of them is made per run of the program.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum BuilderCommand {
    /// Build an image by a Dockerfile
    Build(BuildArgs),
    /// Remove what is kept for later builds
    Prune(BuilderPruneArgs),
}

#[derive(Debug, Args)]
pub struct BuilderPruneArgs {
    /// Accepted for the sake of scripts: everything goes that no build uses
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}
