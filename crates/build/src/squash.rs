//! `--squash`: the changes of several layers as one.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::ErrorKind,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, linkat, mknodat};

use crate::{
    copy,
    error::{Context, Result},
};

const OPAQUE: &str = "trusted.overlay.opaque";

/// Unpacked layers, as overlayfs stacks them.
pub(crate) struct Stack {
    /// Those whose changes become one, the topmost first.
    pub above: Vec<PathBuf>,
    /// Those they change, the topmost first.
    pub below: Vec<PathBuf>,
}

/// What stands at one path of one layer.
enum Found {
    Nothing,
    Whiteout,
    /// An opaque one hides what layers below have in it.
    Directory {
        is_opaque: bool,
    },
    Other,
}

impl Stack {
    /// Fills the directory `into` with the changes as one layer. Files are linked, not copied.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the file system.
    pub fn squash(&self, into: &Path) -> Result<()> {
        let above: Vec<&Path> = self.above.iter().map(PathBuf::as_path).collect();
        merge(&above, Path::new(""), &|path| self.is_below(path), into)
    }

    /// Is there something at `path` in what is changed?
    fn is_below(&self, path: &Path) -> Result<bool> {
        for layer in &self.below {
            match look(&layer.join(path))? {
                Found::Whiteout => return Ok(false),
                Found::Directory { .. } | Found::Other => return Ok(true),
                Found::Nothing => {}
            }
            // A layer in which a directory above is hidden or opaque hides the layers below it.
            for dir in path.ancestors().skip(1) {
                match look(&layer.join(dir))? {
                    Found::Whiteout | Found::Other | Found::Directory { is_opaque: true } => {
                        return Ok(false);
                    }
                    Found::Directory { is_opaque: false } | Found::Nothing => {}
                }
            }
        }
        Ok(false)
    }
}

fn merge(
    layers: &[&Path],
    dir: &Path,
    is_below: &dyn Fn(&Path) -> Result<bool>,
    into: &Path,
) -> Result<()> {
    for name in names(layers, dir)? {
        let path = dir.join(name);
        let at = into.join(&path);
        match topmost(layers, &path)? {
            None => {}
            Some((_, Found::Whiteout)) if !is_below(&path)? => {}
            Some((_, Found::Whiteout)) => {
                mknodat(CWD, &at, FileType::CharacterDevice, Mode::empty(), 0)
                    .context("make", at.display())?;
            }
            Some((number, Found::Directory { .. })) => {
                merge_directory(&layers[number..], &path, is_below, into)?;
            }
            Some((number, Found::Other | Found::Nothing)) => {
                let from = layers[number].join(&path);
                linkat(CWD, &from, CWD, &at, AtFlags::empty()).context("link", at.display())?;
            }
        }
    }
    Ok(())
}

fn merge_directory(
    layers: &[&Path],
    path: &Path,
    is_below: &dyn Fn(&Path) -> Result<bool>,
    into: &Path,
) -> Result<()> {
    let mut taking_part = Vec::new();
    let mut is_opaque = false;
    for layer in layers {
        match look(&layer.join(path))? {
            Found::Nothing => {}
            Found::Directory { is_opaque: false } => taking_part.push(*layer),
            Found::Directory { is_opaque: true } => {
                taking_part.push(*layer);
                is_opaque = true;
            }
            // What was there before the directory was made stays hidden.
            Found::Whiteout | Found::Other => is_opaque = true,
        }
        if is_opaque {
            break;
        }
    }
    let at = into.join(path);
    fs::create_dir(&at).context("make directory", at.display())?;
    merge(&taking_part, path, is_below, into)?;
    copy::copy_directory_attributes(&layers[0].join(path), &at)?;
    if is_opaque && is_below(path)? {
        xattr::set(&at, OPAQUE, b"y").context("mark", at.display())?;
    }
    Ok(())
}

/// The names in a directory of all layers.
fn names(layers: &[&Path], dir: &Path) -> Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for layer in layers {
        let path = layer.join(dir);
        match fs::read_dir(&path) {
            Ok(entries) => names.extend(entries.flatten().map(|entry| entry.file_name())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("read", path.display()),
        }
    }
    Ok(names)
}

fn topmost(layers: &[&Path], path: &Path) -> Result<Option<(usize, Found)>> {
    for (number, layer) in layers.iter().enumerate() {
        match look(&layer.join(path))? {
            Found::Nothing => {}
            found => return Ok(Some((number, found))),
        }
    }
    Ok(None)
}

fn look(path: &Path) -> Result<Found> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Found::Nothing);
        }
        Err(error) => return Err(error).context("look at", path.display()),
    };
    if meta.file_type().is_char_device() && meta.rdev() == 0 {
        return Ok(Found::Whiteout);
    }
    if !meta.is_dir() {
        return Ok(Found::Other);
    }
    let mark = xattr::get(path, OPAQUE).context("look at", path.display())?;
    Ok(Found::Directory { is_opaque: mark.as_deref() == Some(b"y") })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Layers(tempfile::TempDir);

    impl Layers {
        fn layer(&self, name: &str, files: &[&str]) -> PathBuf {
            let layer = self.0.path().join(name);
            fs::create_dir(&layer).unwrap();
            for file in files {
                let path = layer.join(file.trim_start_matches('!'));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                if file.starts_with('!') {
                    mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
                } else {
                    fs::write(&path, name).unwrap();
                }
            }
            layer
        }
    }

    #[test]
    fn the_topmost_layer_decides() {
        let layers = Layers(tempfile::tempdir().unwrap());
        let below = layers.layer("base", &["gone", "kept", "d/old"]);
        let first = layers.layer("one", &["a", "b", "d/new", "e/f"]);
        let second = layers.layer("two", &["!gone", "!b", "a", "d/newer", "!e"]);
        xattr::set(second.join("d"), OPAQUE, b"y").unwrap();
        let into = layers.layer("into", &[]);
        let stack = Stack { above: vec![second, first], below: vec![below] };
        stack.squash(&into).unwrap();
        let names: Vec<OsString> = names(&[&into], Path::new("")).unwrap().into_iter().collect();
        assert_eq!(names, ["a", "d", "gone"]);
        assert_eq!(fs::read_to_string(into.join("a")).unwrap(), "two");
        assert!(matches!(look(&into.join("gone")).unwrap(), Found::Whiteout));
        assert!(matches!(look(&into.join("d")).unwrap(), Found::Directory { is_opaque: true }));
        assert!(!into.join("d/new").exists() && into.join("d/newer").exists());
    }
}
