//! What is kept for later builds: which layer a step has made, and the directories of
//! `--mount=type=cache`.
//!
//! `<root>/build-cache/steps/KEY.json` tells of one step. Its key is the digest of the state before it, of
//! its text and of the contents that it copies. The store keeps the layers as long as the record names
//! them; a record whose layer is gone counts for nothing.

use std::{
    cmp::Reverse,
    fs::{self, DirBuilder, File},
    io::{ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use stasis_container::Home;
use stasis_oci::Digest;
use stasis_store::{ImageStore, Layer};

use crate::{
    digesting::Digesting,
    error::{Context, Result},
    stage::{Done, Stage},
};

/// Names of the stacks of layers that are kept in the store.
const PREFIX: &str = "build:";
/// Of more steps those are forgotten that were not used for the longest time.
const MAX_STEPS: usize = 1000;

#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    store: ImageStore,
}

impl Cache {
    pub fn new(home: &Home, store: &ImageStore) -> Cache {
        Cache { dir: home.root().join("build-cache"), store: store.clone() }
    }

    /// What the step with this key has done before, if its layer is still there.
    pub fn find(&self, key: &Digest) -> Option<Done> {
        let path = self.record(key);
        let done: Done = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let is_there = |layer: &Layer| self.store.has_blob(&layer.blob.digest);
        if !done.layer.as_ref().is_none_or(is_there) {
            return None;
        }
        // By their times the records know which of them are used.
        let _ = File::open(&path).and_then(|record| record.set_modified(SystemTime::now()));
        Some(done)
    }

    /// Forgets the steps that are too many.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] or [`crate::Error::Store`] by the file system.
    pub fn tidy(&self) -> Result<()> {
        self.keep_newest(MAX_STEPS)
    }

    fn keep_newest(&self, nr_kept: usize) -> Result<()> {
        let mut records = entries(&self.steps())?;
        if records.len() <= nr_kept {
            return Ok(());
        }
        records.sort_by_key(|path| {
            Reverse(fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(UNIX_EPOCH))
        });
        for path in &records[nr_kept..] {
            fs::remove_file(path).context("remove", path.display())?;
        }
        let has_record = |hex: &str| self.steps().join(format!("{hex}.json")).exists();
        Ok(self.store.retain_layers(|name| name.strip_prefix(PREFIX).is_none_or(has_record))?)
    }

    /// Remembers what a step has done on `stage`.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the file system.
    pub fn keep(&self, key: &Digest, stage: &Stage, done: &Done) -> Result<()> {
        if let Some(layer) = &done.layer {
            let stack = [stage.layers.as_slice(), std::slice::from_ref(layer)].concat();
            self.store.keep_layers(&format!("{PREFIX}{}", key.hex()), &stack)?;
        }
        let path = self.record(key);
        let dir = self.steps();
        make_private(&dir)?;
        let bytes = serde_json::to_vec(done).map_err(std::io::Error::from);
        let bytes = bytes.context("write", path.display())?;
        let mut beside = tempfile::NamedTempFile::new_in(&dir).context("write", path.display())?;
        beside.write_all(&bytes).context("write", path.display())?;
        beside.as_file().sync_all().context("sync", path.display())?;
        beside.persist(&path).map_err(|error| error.error).context("write", path.display())?;
        Ok(())
    }

    /// The directory of the cache mount `id`, made if it is not there.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the file system.
    pub fn mount_dir(&self, id: &str) -> Result<PathBuf> {
        let name = Digesting::of("cache mount").field(id.as_bytes()).finish().hex();
        let dir = self.mounts().join(name);
        make_private(&dir)?;
        Ok(dir)
    }

    fn steps(&self) -> PathBuf {
        self.dir.join("steps")
    }

    fn mounts(&self) -> PathBuf {
        self.dir.join("mounts")
    }

    fn record(&self, key: &Digest) -> PathBuf {
        self.steps().join(format!("{}.json", key.hex()))
    }
}

fn make_private(dir: &std::path::Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .context("make directory", dir.display())
}

/// What [`prune`] has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub nr_steps: usize,
    pub size_bytes: u64,
}

/// Forgets all that is kept for later builds; caches of builds that go on stay.
///
/// # Errors
/// [`crate::Error::Refused`] by the file system.
pub fn prune(home: &Home, store: &ImageStore) -> Result<Pruned> {
    let cache = Cache::new(home, store);
    let mut pruned = Pruned::default();
    for record in entries(&cache.steps())? {
        fs::remove_file(&record).context("remove", record.display())?;
        pruned.nr_steps += usize::from(record.extension().is_some_and(|end| end == "json"));
    }
    for mount in entries(&cache.mounts())? {
        let lock = File::open(&mount).context("open", mount.display())?;
        if lock.try_lock().is_ok() {
            pruned.size_bytes += size_of(&mount)?;
            fs::remove_dir_all(&mount).context("remove", mount.display())?;
        }
    }
    store.retain_layers(|name| !name.starts_with(PREFIX))?;
    pruned.size_bytes += store.sweep_all()?.size_bytes;
    Ok(pruned)
}

fn entries(dir: &std::path::Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => {
            let entries = other.context("read", dir.display())?;
            Ok(entries.flatten().map(|entry| entry.path()).collect())
        }
    }
}

fn size_of(dir: &std::path::Path) -> Result<u64> {
    let mut open = vec![dir.to_owned()];
    let mut size_bytes = 0;
    while let Some(dir) = open.pop() {
        for path in entries(&dir)? {
            let meta = fs::symlink_metadata(&path).context("look at", path.display())?;
            size_bytes += meta.len();
            if meta.is_dir() {
                open.push(path);
            }
        }
    }
    Ok(size_bytes)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use stasis_dockerfile::Globals;
    use stasis_oci::Platform;

    use super::*;

    #[test]
    fn the_steps_that_were_used_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path(), dir.path().join("run"));
        let cache = Cache::new(&home, &ImageStore::new(dir.path()));
        let here = stasis_dockerfile::Platform {
            os: "linux".into(),
            architecture: "amd64".into(),
            variant: String::new(),
        };
        let globals = Globals::new(Default::default(), &here, &here);
        let stage = Stage::scratch(&globals, &Platform::host());
        let done = Done { created: Timestamp::UNIX_EPOCH, layer: None };
        let key = |number: usize| Digest::of(&[number as u8]);
        for number in 0..4 {
            cache.keep(&key(number), &stage, &done).unwrap();
            let record = File::open(cache.record(&key(number))).unwrap();
            record
                .set_modified(UNIX_EPOCH + std::time::Duration::from_secs(number as u64))
                .unwrap();
        }
        assert_eq!(cache.find(&key(0)), Some(done));
        cache.keep_newest(2).unwrap();
        let found: Vec<bool> = (0..4).map(|number| cache.find(&key(number)).is_some()).collect();
        assert_eq!(found, [true, false, false, true]);
    }
}
