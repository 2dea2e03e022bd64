//! How much directory trees hold.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt, path::Path};

use crate::store::Container;

/// Bytes of all files below a directory, each counted once. What goes away meanwhile counts nothing.
pub(crate) fn of_tree(dir: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut level = vec![dir.to_owned()];
    let mut sum = 0;
    while let Some(dir) = level.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                level.push(entry.path());
            } else if seen.insert((meta.dev(), meta.ino())) {
                sum += meta.len();
            }
        }
    }
    sum
}

impl Container {
    /// Bytes that the container has changed or added in its root file system.
    pub fn changed_bytes(&self) -> u64 {
        of_tree(&self.place.upper())
    }

    /// Bytes of all that is kept of the container: changes and the log.
    pub fn size_bytes(&self) -> u64 {
        of_tree(&self.place.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_file_count_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("a"), "12345").unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("d/b")).unwrap();
        assert_eq!(of_tree(dir.path()), 5);
        assert_eq!(of_tree(&dir.path().join("nothing")), 0);
    }
}
