//! This host, compared with the one a checkpoint was taken on.

use std::path::Path;

use stasis_files::{Facts, Reader};
use stasis_model::{Obstacle, Tree};
use stasis_plan::{CpuCheck, Host};

use crate::facade::Error;

/// Lists all that keeps a checkpoint from being restored here, without making anything.
///
/// # Errors
/// [`Error::Failed`] if the checkpoint cannot even be understood, such as one of another architecture.
pub fn check_restore(images_dir: &Path, check: CpuCheck) -> Result<Vec<Obstacle>, Error> {
    let (tree, facts) = Reader::open(images_dir)?.tree_and_facts()?;
    Ok(obstacles(&tree, &facts, check))
}

/// Of the tree itself and of this host.
pub fn obstacles(tree: &Tree, facts: &Facts, check: CpuCheck) -> Vec<Obstacle> {
    let mut obstacles = stasis_plan::obstacles(tree);
    let theirs = facts.processor.as_ref();
    obstacles.extend(stasis_plan::obstacles_of_host(tree, theirs, &probe(), check));
    obstacles
}

fn probe() -> Host {
    let name = rustix::system::uname();
    let kernel = numbers(&name.release().to_string_lossy());
    Host { kernel, processor: stasis_objects::processor::probe() }
}

/// The first two numbers of a kernel's release. One that has none is taken for new enough.
fn numbers(release: &str) -> (u32, u32) {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || parts.next().and_then(|part| part.parse().ok());
    next().map_or((u32::MAX, 0), |major| (major, next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_begin_with_two_numbers() {
        assert_eq!(numbers("6.18.0-rc1"), (6, 18));
        assert_eq!(numbers("5.6"), (5, 6));
        assert_eq!(numbers("7"), (7, 0));
        assert_eq!(numbers("odd"), (u32::MAX, 0));
    }
}
