//! Verbs that make something of a container, or change it: as they are typed.

use std::path::PathBuf;

use clap::{ArgAction, Args};

#[derive(Debug, Args)]
pub struct CommitArgs {
    /// Let all processes stand still while their files are read
    #[arg(
        short,
        long,
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        action = ArgAction::Set
    )]
    pub pause: bool,
    /// Who made the image
    #[arg(short, long)]
    pub author: Option<String>,
    /// What was changed
    #[arg(short, long, default_value = "")]
    pub message: String,
    /// Change the image's configuration by an instruction of Dockerfiles, such as 'CMD ["sh"]'
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// Only print the id of the image
    #[arg(short, long)]
    pub quiet: bool,
    pub container: String,
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    pub container: String,
}

#[derive(Debug, Args)]
pub struct CpArgs {
    /// Keep owners
    #[arg(short, long)]
    pub archive: bool,
    /// Copy what a link in the source leads to
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Say nothing; nothing is said anyway
    #[arg(short, long)]
    pub quiet: bool,
    /// CONTAINER:PATH, a path of the host, or - for a tar from standard input
    #[arg(allow_hyphen_values = true)]
    pub source: String,
    /// CONTAINER:PATH, a path of the host, or - for a tar to standard output
    #[arg(allow_hyphen_values = true)]
    pub target: String,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    pub container: String,
}

#[derive(Debug, Args)]
pub struct RenameArgs {
    pub container: String,
    #[arg(value_name = "NEW_NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Limit of memory, such as 512m; 0 is none
    #[arg(short, long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Limit of processors, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<String>,
    /// Limit of the number of tasks; 0 is none
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// no, always, unless-stopped, on-failure[:NUMBER]
    #[arg(long)]
    pub restart: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ContainerPruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// until=, label=, label!=
    #[arg(long)]
    pub filter: Vec<String>,
}
