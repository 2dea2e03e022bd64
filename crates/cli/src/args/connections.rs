//! What becomes of TCP connections.

use clap::Args;

/// For trees of processes; for CRIU and for Podman the same words.
#[derive(Debug, Args)]
pub struct ConnectionArgs {
    /// Keep established TCP connections
    #[arg(long, conflicts_with = "tcp_close")]
    pub tcp_established: bool,
    /// Close TCP connections
    #[arg(long)]
    pub tcp_close: bool,
}
