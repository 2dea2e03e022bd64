//! The verbs that talk to registries.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::Later;

#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Bring an image here from a registry
    Pull(Later<PullArgs>),
    /// Send an image to a registry
    Push(Later<PushArgs>),
    /// Show a name and a password to a registry, and keep them
    Login(Later<LoginArgs>),
    /// Forget the name and the password for a registry
    Logout(Later<LogoutArgs>),
}

/// How a registry is reached.
#[derive(Debug, Args)]
pub struct AccessArgs {
    /// Ask the registry for a certificate that is trusted
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        action = ArgAction::Set
    )]
    pub tls_verify: bool,
    /// File with names and passwords
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Directory with certificates of those who sign for the registry (*.crt)
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
}

/// How a container's image comes here if it is not here.
#[derive(Debug, Args)]
pub struct PullingArgs {
    /// always, missing or never
    #[arg(long, default_value = "missing")]
    pub pull: String,
    /// Do not tell that an image was pulled
    #[arg(short, long)]
    pub quiet: bool,
    /// Of an image for this machine, such as linux/arm64
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    pub platform: Option<String>,
    #[command(flatten)]
    pub access: AccessArgs,
}

#[derive(Debug, Args)]
pub struct PullArgs {
    /// All tags of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// Only print the whole name of the image
    #[arg(short, long)]
    pub quiet: bool,
    /// For this machine, such as linux/arm64
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    pub platform: Option<String>,
    #[command(flatten)]
    pub access: AccessArgs,
    /// Name and password for the registry
    #[arg(long, value_name = "USER:PASSWORD")]
    pub creds: Option<String>,
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct PushArgs {
    /// All tags of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// Only print the name of the image
    #[arg(short, long)]
    pub quiet: bool,
    /// How to compress layers that are stored plain
    #[arg(long, value_enum, default_value_t)]
    pub compression: PushCompression,
    #[command(flatten)]
    pub access: AccessArgs,
    /// Name and password for the registry
    #[arg(long, value_name = "USER:PASSWORD")]
    pub creds: Option<String>,
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum PushCompression {
    #[default]
    Gzip,
    Zstd,
    None,
}

#[derive(Debug, Args)]
pub struct LoginArgs {
    /// Name of the user
    #[arg(short, long)]
    pub username: Option<String>,
    /// Password or token
    #[arg(short, long, conflicts_with = "password_stdin")]
    pub password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// Only print the name of the user who is logged in
    #[arg(long)]
    pub get_login: bool,
    #[command(flatten)]
    pub access: AccessArgs,
    /// Registry; Docker Hub if there is none
    #[arg(value_name = "SERVER", default_value = "")]
    pub server: String,
}

#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// All registries
    #[arg(short, long, conflicts_with = "server")]
    pub all: bool,
    /// File with names and passwords
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Registry; Docker Hub if there is none
    #[arg(value_name = "SERVER", default_value = "")]
    pub server: String,
}
