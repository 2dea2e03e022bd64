//! Which files of a tree the sources of `COPY` and `ADD` name, and where each of them goes.

use std::path::{Component, Path, PathBuf};

use stasis_dockerfile::{Glob, Ignore, Layout, Verdict};

use crate::{
    error::{Error, Result},
    tree::{Entry, Tree},
};

/// A file to copy, and the path of its copy.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub entry: Entry,
    pub to: PathBuf,
}

/// Where copies go.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// From the root on.
    pub path: PathBuf,
    pub kind: DestinationKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DestinationKind {
    /// It ends with a slash, or a directory is there.
    Directory,
    /// It is the copy itself, if one file is copied.
    File,
}

/// The path without `.`, doubled slashes and `..` above the root.
pub(crate) fn cleaned(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// The files that a source names, the source itself or what its wildcards match.
///
/// # Errors
/// [`Error::Invalid`] if there is none.
pub(crate) fn sources(tree: &Tree, pattern: &str) -> Result<Vec<Entry>> {
    let path = cleaned(pattern);
    if !Glob::has_wildcards(pattern) {
        let found = tree.look(&path)?;
        return Ok(vec![found.ok_or_else(|| not_found(pattern))?]);
    }
    let glob = Glob::new(&path.to_string_lossy()).map_err(Error::invalid)?;
    let found = matches(tree, &path, &glob)?;
    if found.is_empty() { Err(not_found(pattern)) } else { Ok(found) }
}

fn not_found(pattern: &str) -> Error {
    Error::invalid(format!("{pattern:?} is not there")).hint(
        "paths are taken from the root of the context (or of --from) on; is it named in \
         .dockerignore?",
    )
}

/// Looks only below the part of the pattern that has no wildcards. A link that matches stands for what
/// it leads to.
fn matches(tree: &Tree, pattern: &Path, glob: &Glob) -> Result<Vec<Entry>> {
    let is_plain = |part: &Component| !Glob::has_wildcards(&part.as_os_str().to_string_lossy());
    let fixed: PathBuf = pattern.components().take_while(is_plain).collect();
    match tree.look(&fixed)? {
        Some(dir) if dir.is_dir() => {}
        _ => return Ok(Vec::new()),
    }
    let matching = tree.below(&fixed)?.into_iter().filter(|entry| glob.matches(&entry.path));
    let found: Vec<Option<Entry>> =
        matching.map(|entry| tree.look(&entry.path)).collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Where everything that `sources` stand for is copied to. A directory stands for what is in it.
///
/// # Errors
/// [`Error::Invalid`] if several files would become one.
pub(crate) fn placements(
    tree: &Tree,
    sources: Vec<(String, Entry)>,
    destination: &Destination,
    layout: Layout,
    exclude: &Ignore,
) -> Result<Vec<Placement>> {
    let nr_files = sources.iter().filter(|(_, entry)| !entry.is_dir()).count();
    if nr_files > 1 && destination.kind == DestinationKind::File && layout == Layout::Flat {
        let path = destination.path.display();
        return Err(Error::invalid(format!("{nr_files} files cannot become the one file /{path}"))
            .hint("end the destination with a slash"));
    }
    let mut placements = Vec::new();
    for (pattern, entry) in sources {
        let base = base(&pattern, &entry, destination, layout);
        if !entry.is_dir() {
            let name = entry.path.file_name().map(PathBuf::from).unwrap_or_default();
            if exclude.verdict(&name) == Verdict::Kept {
                placements.push(Placement { entry, to: base });
            }
            continue;
        }
        let source = entry.path.clone();
        if layout == Layout::Parents {
            placements.push(Placement { entry, to: base.clone() });
        }
        for below in tree.below(&source)? {
            let inner = below.path.strip_prefix(&source).unwrap_or(&below.path).to_owned();
            if exclude.verdict(&inner) == Verdict::Kept {
                placements.push(Placement { entry: below, to: base.join(inner) });
            }
        }
    }
    Ok(placements)
}

/// The path of a file's copy, or of the directory that gets a directory's contents.
fn base(pattern: &str, entry: &Entry, destination: &Destination, layout: Layout) -> PathBuf {
    match (layout, destination.kind) {
        (Layout::Parents, _) => destination.path.join(after_pivot(pattern, &entry.path)),
        (Layout::Flat, DestinationKind::Directory) if !entry.is_dir() => {
            destination.path.join(entry.path.file_name().unwrap_or_default())
        }
        (Layout::Flat, _) => destination.path.clone(),
    }
}

/// With `a/./b` only `b` is kept of the path.
fn after_pivot(pattern: &str, path: &Path) -> PathBuf {
    let Some((before, _)) = pattern.split_once("/./") else { return path.to_owned() };
    path.strip_prefix(cleaned(before)).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use stasis_container::inside;

    use super::*;
    use crate::tree::Owners;

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("src/deep")).unwrap();
        for name in ["src/a.c", "src/b.c", "src/deep/c.c", "one.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let root = inside::open_root(dir.path()).unwrap();
        (dir, Tree::new(root, Ignore::default(), Owners::Root))
    }

    fn check(patterns: &[&str], to: (&str, DestinationKind), layout: Layout, expect: &[&str]) {
        let (_dir, tree) = tree();
        let mut found = Vec::new();
        for pattern in patterns {
            for entry in sources(&tree, pattern).unwrap() {
                found.push(((*pattern).to_owned(), entry));
            }
        }
        let destination = Destination { path: to.0.into(), kind: to.1 };
        let placements =
            placements(&tree, found, &destination, layout, &Ignore::parse("deep").unwrap())
                .unwrap();
        let to: Vec<String> =
            placements.iter().map(|p| p.to.to_string_lossy().into_owned()).collect();
        assert_eq!(to, expect, "{patterns:?}");
    }

    #[test]
    fn destinations() {
        use DestinationKind::{Directory, File};
        check(&["one.txt"], ("d", File), Layout::Flat, &["d"]);
        check(&["one.txt"], ("d", Directory), Layout::Flat, &["d/one.txt"]);
        check(&["/src/../one.txt"], ("d", Directory), Layout::Flat, &["d/one.txt"]);
        check(&["src"], ("d", File), Layout::Flat, &["d/a.c", "d/b.c"]);
        check(
            &["src/*.c", "one.*"],
            ("d", Directory),
            Layout::Flat,
            &["d/a.c", "d/b.c", "d/one.txt"],
        );
        check(&["src/a.c"], ("d", Directory), Layout::Parents, &["d/src/a.c"]);
        check(&["./src/./a.c"], ("d", Directory), Layout::Parents, &["d/a.c"]);
        check(&["**/c.c"], ("d", Directory), Layout::Parents, &["d/src/deep/c.c"]);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let (_dir, tree) = tree();
        assert!(sources(&tree, "two.txt").is_err());
        assert!(sources(&tree, "*.rs").is_err());
        let both: Vec<_> = sources(&tree, "src/*.c").unwrap();
        let both = both.into_iter().map(|entry| (String::new(), entry)).collect();
        let file = Destination { path: "d".into(), kind: DestinationKind::File };
        assert!(placements(&tree, both, &file, Layout::Flat, &Ignore::default()).is_err());
    }
}
