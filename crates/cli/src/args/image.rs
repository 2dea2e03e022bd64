//! `image` and its verbs as they are typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{
    BuildArgs, Later,
    registry::{PullArgs, PushArgs},
};

/// The verbs that stand at the top.
// One of them is made per run of the program.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum TopImageCommand {
    #[command(flatten)]
    Verb(ImageCommand),
    /// List images
    Images(Later<ImageLsArgs>),
    /// Remove images, or names of images
    Rmi(Later<ImageRmArgs>),
}

/// The verbs of `image`.
// One of them is made per run of the program.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum ImagesCommand {
    #[command(flatten)]
    Verb(ImageCommand),
    /// List images
    #[command(visible_alias = "list")]
    Ls(ImageLsArgs),
    /// Remove images, or names of images
    #[command(visible_alias = "remove")]
    Rm(ImageRmArgs),
    /// Show all about images as JSON
    Inspect(ImageInspectArgs),
    /// Remove images that nobody needs
    Prune(ImagePruneArgs),
    /// Bring an image here from a registry
    Pull(PullArgs),
    /// Send an image to a registry
    Push(PushArgs),
}

/// The verbs that are called the same in both places.
// One of them is made per run of the program.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Build an image by a Dockerfile
    Build(Later<BuildArgs>),
    /// Give an image one more name
    Tag(Later<TagArgs>),
    /// Show how an image came about
    History(Later<HistoryArgs>),
    /// Write images to an archive
    Save(Later<SaveArgs>),
    /// Bring images in from an archive
    Load(Later<LoadArgs>),
    /// Make an image of the tar of a root file system
    Import(Later<ImportArgs>),
}

#[derive(Debug, Args)]
pub struct ImageLsArgs {
    /// Also intermediate images (there are none)
    #[arg(short, long)]
    pub all: bool,
    /// Show digests
    #[arg(long)]
    pub digests: bool,
    /// dangling=, label=, before=, since=, reference=
    #[arg(short, long)]
    pub filter: Vec<String>,
    /// json, table, or a Go template
    #[arg(long)]
    pub format: Option<String>,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Only this name, in which * and ? stand for anything
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct TagArgs {
    #[arg(value_name = "IMAGE")]
    pub image: String,
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct ImageRmArgs {
    /// Take names away even if containers need the image
    #[arg(short, long)]
    pub force: bool,
    /// Do not remove untagged parents (there are none)
    #[arg(long)]
    pub no_prune: bool,
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Sizes and dates for people
    #[arg(short = 'H', long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub human: bool,
    /// Whole ids and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// json, table, or a Go template
    #[arg(long)]
    pub format: Option<String>,
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

#[derive(Debug, Args)]
pub struct ImageInspectArgs {
    /// json, or a Go template
    #[arg(short, long)]
    pub format: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ImagePruneArgs {
    /// All that no container was made of, not only those without a name
    #[arg(short, long)]
    pub all: bool,
    /// until=, label=, label!=
    #[arg(long)]
    pub filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct SaveArgs {
    /// Write to this file or directory, not to standard output
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// What can read it
    #[arg(long, value_enum, default_value_t = SaveFormat::DockerArchive)]
    pub format: SaveFormat,
    /// Names, or ids; a name without tag means all tags
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SaveFormat {
    /// A tar for docker load, which is an OCI layout too
    DockerArchive,
    /// A tar with an OCI layout
    OciArchive,
    /// A directory with an OCI layout
    OciDir,
}

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Read this archive or directory, not standard input
    #[arg(short, long, value_name = "PATH")]
    pub input: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Instruction of a Dockerfile that changes the configuration
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// Comment for the history
    #[arg(short, long, default_value = "")]
    pub message: String,
    /// For which platform the files are, if not this one
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// A tar, compressed or not; - is standard input
    #[arg(value_name = "FILE|-")]
    pub source: PathBuf,
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}
