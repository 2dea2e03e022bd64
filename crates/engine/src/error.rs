//! Why a checkpoint or a restore did not come to its end.

use stasis_model::Obstacle;

/// Why a checkpoint or restore failed; the tree runs as before, or nothing is left.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was stopped.
    #[error("cannot checkpoint: {}", list(.0))]
    Obstacles(Vec<Obstacle>),
    /// Nothing was made.
    #[error("cannot restore here: {}", list(.0))]
    NotHere(Vec<Obstacle>),
    #[error("{0}")]
    Failed(String),
}

impl From<stasis_tracee::Error> for Error {
    fn from(error: stasis_tracee::Error) -> Self {
        Error::Failed(error.to_string())
    }
}

impl From<stasis_objects::Error> for Error {
    fn from(error: stasis_objects::Error) -> Self {
        Error::Failed(error.to_string())
    }
}

impl From<stasis_files::Error> for Error {
    fn from(error: stasis_files::Error) -> Self {
        Error::Failed(error.to_string())
    }
}

fn list(obstacles: &[Obstacle]) -> String {
    let lines: Vec<String> = obstacles.iter().map(|o| format!("\n  {o}")).collect();
    format!("{} obstacle(s){}", obstacles.len(), lines.concat())
}
