//! This host, compared with the one a checkpoint was taken on.

use std::path::Path;

use stasis_files::{Facts, Parents, Reader};
use stasis_model::{FileId, FileKind, Obstacle, Process, Subject, Tree};
use stasis_plan::{CpuCheck, Host};

use crate::{cpuid, facade::Error, vdso};

/// What a checkpoint asks of the host that restores it.
#[derive(Clone, Debug)]
pub struct Fitness {
    /// What stands in the way here.
    pub obstacles: Vec<Obstacle>,
    /// Processes that have files of the host's control groups open, by pid and name.
    pub users_of_cgroups: Vec<String>,
}

/// Finds all that keeps a checkpoint from being restored here, without making anything.
///
/// # Errors
/// [`Error::Failed`] if the checkpoint cannot even be understood, such as one of another architecture.
pub fn check_restore(
    images_dir: &Path,
    parents: &Parents,
    check: CpuCheck,
) -> Result<Fitness, Error> {
    let reader = Reader::open(images_dir)?.with_parents(parents.clone());
    let (mut tree, facts) = reader.tree_and_facts()?;
    let mut obstacles = obstacles(&tree, &facts, check);
    if let Err(error) = vdso::adapt(&mut tree, &reader) {
        let subject = Subject::Named("the kernel".into());
        obstacles.push(Obstacle::lasting(subject, error.to_string(), None));
    }
    Ok(Fitness { obstacles, users_of_cgroups: users_of_cgroups(&tree) })
}

fn users_of_cgroups(tree: &Tree) -> Vec<String> {
    let is_of_cgroups = |file: &FileId| match tree.files.get(file).map(|file| &file.kind) {
        Some(FileKind::Path(file)) => file.path.starts_with("/sys/fs/cgroup"),
        _ => false,
    };
    let uses = |process: &&Process| {
        let table = process.live().and_then(|live| tree.tables.get(&live.descriptors));
        let mut files = table.into_iter().flat_map(|table| table.descriptors.values());
        files.any(|descriptor| is_of_cgroups(&descriptor.file))
    };
    let describe = |process: &Process| {
        format!("process {} ({})", process.pid, String::from_utf8_lossy(&process.name))
    };
    tree.processes.iter().filter(uses).map(describe).collect()
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
    Host { kernel, processor: cpuid::probe() }
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
