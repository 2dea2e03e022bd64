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
    /// Freeze all running containers, as before a reboot
    Save(SystemSaveArgs),
    /// Bring back what `system save` froze, and start what restart policies want to run
    Resume(SystemResumeArgs),
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
    /// Also checkpoints without a tag whose container is gone
    #[arg(long)]
    pub checkpoints: bool,
    /// until=, label=, label!=
    #[arg(long)]
    pub filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct SystemSaveArgs {
    /// What is not frozen after this time, such as 90s, is stopped instead
    #[arg(long, value_name = "DURATION", visible_alias = "timeout")]
    pub within: Option<String>,
    /// Copy root file systems and volumes too, so that the checkpoints can be used later and elsewhere
    #[arg(long)]
    pub with_disks: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// json, table, or a Go template
    #[arg(long)]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
pub struct SystemResumeArgs {
    /// Keep the checkpoints (of use to others only after --with-disks)
    #[arg(short, long)]
    pub keep: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// json, table, or a Go template
    #[arg(long)]
    pub format: Option<String>,
}
