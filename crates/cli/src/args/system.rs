//! `system` as it is typed.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Show what takes room on the disk
    Df(DfArgs),
    /// Remove what nobody needs
    Prune(SystemPruneArgs),
    /// Look at every record and content, and tell what is wrong
    Check,
}

#[derive(Debug, Args)]
pub struct DfArgs {
    /// One by one
    #[arg(short, long)]
    pub verbose: bool,
    /// json, table, or a Go template
    #[arg(long, conflicts_with = "verbose")]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
pub struct SystemPruneArgs {
    /// All images that no container was made of, not only those without a name
    #[arg(short, long)]
    pub all: bool,
    /// Also anonymous volumes
    #[arg(long)]
    pub volumes: bool,
    /// until=, label=, label!=
    #[arg(long)]
    pub filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}
