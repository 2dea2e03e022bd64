//! What a `RUN` sees besides its layers: `--mount`, and the mount points that it needs for that.

use std::{
    fs::{self, File},
    io::Read,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use stasis_container::{
    config::{self, MountKind as Kind},
    inside,
};
use stasis_dockerfile::{
    Access, Cache as CacheMount, CacheSharing, Mount, MountKind, Need, Secret,
};
use stasis_enclosure::overlay::{Overlay, Upper};

use crate::{
    cache::Cache,
    changes::Mounted,
    error::{Context, Error, Result},
    request::SecretSource,
    select::cleaned,
    workplace::{MOUNTED, Workplace},
};

/// Directories that are mounted on in every container.
const DIRECTORIES: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Files that are mounted on in every container.
const FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
const MAX_SECRET_BYTES: u64 = 512 << 10;

/// All that one command sees; what was made for it goes when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    pub list: Vec<config::Mount>,
    /// Variables that hold secrets.
    pub env: Vec<String>,
    points: Vec<(PathBuf, Point)>,
    _trees: Vec<Mounted>,
    _locks: Vec<File>,
}

/// What must be there to be mounted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Directory,
    File,
}

/// What mounts are made of.
pub(crate) struct Sources<'a> {
    pub workplace: &'a Workplace,
    pub cache: &'a Cache,
    pub secrets: &'a std::collections::BTreeMap<String, SecretSource>,
    pub workdir: &'a Path,
}

impl Mounts {
    /// Adds a mount; `lower` are the directories that a bind or a new cache comes from, the topmost
    /// first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a source or secret that is not there.
    pub fn add(&mut self, mount: &Mount, lower: &[PathBuf], sources: &Sources) -> Result<()> {
        match &mount.kind {
            MountKind::Bind { target, source, access, .. } => {
                let path = self.show(lower, source, sources.workplace)?;
                self.bind(path, &sources.workdir.join(target), *access)
            }
            MountKind::Cache(cache) => self.cache(cache, lower, sources),
            MountKind::Tmpfs { target, size_bytes } => {
                let options = size_bytes.map(|size| format!("size={size}")).into_iter().collect();
                let target = absolute(&sources.workdir.join(target));
                self.points.push((target.clone(), Point::Directory));
                self.list.push(config::Mount { kind: Kind::Tmpfs, target, options });
                Ok(())
            }
            MountKind::Secret(secret) => self.secret(secret, sources),
            MountKind::Ssh { need: Need::Optional } => Ok(()),
            MountKind::Ssh { need: Need::Required } => {
                Err(Error::invalid("--mount=type=ssh is not supported")
                    .hint("give the key as a secret: --mount=type=secret,id=KEY"))
            }
        }
    }

    /// Shows a file of the host that is not to be changed.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn show_file(&mut self, path: PathBuf, target: &Path) -> Result<()> {
        self.bind(path, target, Access::ReadOnly)
    }

    /// Makes what is mounted on, as a layer under the changes: so it is none of them.
    ///
    /// # Errors
    /// [`Error::Container`] if a file is in the way.
    pub fn make_points(&self, root: &OwnedFd) -> Result<()> {
        let own = self.points.iter().filter(|(path, _)| !is_mounted_on(path));
        let directories = DIRECTORIES.iter().map(|path| (PathBuf::from(path), Point::Directory));
        let files = FILES.iter().map(|path| (PathBuf::from(path), Point::File));
        for (path, point) in directories.chain(files).chain(own.cloned()) {
            match point {
                Point::Directory => inside::make_dirs(root, &path)?,
                Point::File => inside::make_file(root, &path)?,
            }
        }
        Ok(())
    }

    fn bind(&mut self, source: PathBuf, target: &Path, access: Access) -> Result<()> {
        let meta = fs::metadata(&source).context("look at", source.display())?;
        let point = if meta.is_dir() { Point::Directory } else { Point::File };
        let access = match access {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
        };
        let target = absolute(target);
        self.points.push((target.clone(), point));
        let options = ["rbind", "rprivate", access].map(str::to_owned).to_vec();
        self.list.push(config::Mount { kind: Kind::Bind { source }, target, options });
        Ok(())
    }

    /// The path on the host of something in a tree. What is written to it is thrown away.
    fn show(&mut self, lower: &[PathBuf], source: &str, workplace: &Workplace) -> Result<PathBuf> {
        let dir = workplace.make_dir("shown")?;
        let upper = Upper { dir: dir.join("upper"), work: dir.join("work") };
        let mut lower = lower.to_vec();
        if lower.is_empty() {
            let nothing = dir.join("nothing");
            fs::create_dir(&nothing).context("make directory", nothing.display())?;
            lower.push(nothing);
        }
        let overlay = Overlay { lower, upper: Some(upper) };
        let mounted = Mounted::at(dir.join(MOUNTED), &overlay)?;
        let root = inside::open_root(mounted.path())?;
        let path = cleaned(source);
        let found = inside::open(&root, &path, OFlags::PATH).map_err(|_| {
            Error::invalid(format!("the source {source:?} of --mount is not there"))
        })?;
        // Links on the way are resolved, inside: nobody follows them a second time.
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        let real = fs::read_link(&path).context("read", path)?;
        self._trees.push(mounted);
        Ok(real)
    }

    fn cache(&mut self, cache: &CacheMount, lower: &[PathBuf], sources: &Sources) -> Result<()> {
        let target = sources.workdir.join(&cache.target);
        let id = cache.id.clone().unwrap_or_else(|| target.to_string_lossy().into_owned());
        let dir = self.lock_cache(sources.cache.mount_dir(&id)?, cache.sharing, sources)?;
        let content = dir.join("content");
        if !content.exists() {
            self.fill_cache(cache, &content, lower, sources.workplace)?;
        }
        self.bind(content, &target, cache.access)
    }

    fn lock_cache(
        &mut self,
        dir: PathBuf,
        sharing: CacheSharing,
        sources: &Sources,
    ) -> Result<PathBuf> {
        let lock = File::open(&dir).context("open", dir.display())?;
        match sharing {
            CacheSharing::Shared => lock.lock_shared().context("lock", dir.display())?,
            CacheSharing::Locked => lock.lock().context("lock", dir.display())?,
            CacheSharing::Private if lock.try_lock().is_err() => {
                return sources.workplace.make_dir("cache");
            }
            CacheSharing::Private => {}
        }
        self._locks.push(lock);
        Ok(dir)
    }

    fn fill_cache(
        &mut self,
        cache: &CacheMount,
        content: &Path,
        lower: &[PathBuf],
        workplace: &Workplace,
    ) -> Result<()> {
        let beside = content.with_extension("new");
        let _ = fs::remove_dir_all(&beside);
        fs::create_dir(&beside).context("make directory", beside.display())?;
        if cache.from.is_some() {
            let origin = self.show(lower, &cache.source, workplace)?;
            crate::copy::copy_tree(&origin, &beside)?;
        }
        let mode = fs::Permissions::from_mode(cache.mode.unwrap_or(0o755));
        fs::set_permissions(&beside, mode).context("set the mode of", beside.display())?;
        std::os::unix::fs::chown(&beside, Some(cache.uid), Some(cache.gid))
            .context("set the owner of", beside.display())?;
        fs::rename(&beside, content).context("make", content.display())
    }

    /// Secrets lie where they do not come to disk, and go with the workplace.
    fn secret(&mut self, secret: &Secret, sources: &Sources) -> Result<()> {
        let Some(source) = sources.secrets.get(&secret.id) else {
            return match secret.need {
                Need::Optional => Ok(()),
                Need::Required => {
                    Err(Error::invalid(format!("the secret {:?} was not given", secret.id))
                        .hint(format!("give it by --secret id={},src=FILE", secret.id)))
                }
            };
        };
        let value = read_secret(&secret.id, source)?;
        if let Some(name) = &secret.env {
            let text = String::from_utf8(value.clone()).map_err(|_| {
                Error::invalid(format!("the secret {:?} is no text for a variable", secret.id))
            })?;
            self.env.push(format!("{name}={text}"));
        }
        let Some(target) = &secret.target else { return Ok(()) };
        let path = sources.workplace.make_volatile_dir("secret")?.join("value");
        write_private(&path, &value)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(secret.mode))
            .context("set the mode of", path.display())?;
        std::os::unix::fs::chown(&path, Some(secret.uid), Some(secret.gid))
            .context("set the owner of", path.display())?;
        self.bind(path, &sources.workdir.join(target), Access::ReadOnly)
    }
}

/// Lies it in a directory that is mounted afresh anyway?
fn is_mounted_on(path: &Path) -> bool {
    DIRECTORIES.iter().any(|dir| path.starts_with(dir))
}

fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(cleaned(&path.to_string_lossy()))
}

fn read_secret(id: &str, source: &SecretSource) -> Result<Vec<u8>> {
    let path = match source {
        SecretSource::File(path) => path,
        SecretSource::Variable(name) => {
            let value = std::env::var_os(name).ok_or_else(|| {
                Error::invalid(format!("the variable {name} of the secret {id:?} is not set"))
            })?;
            return Ok(value.into_encoded_bytes());
        }
    };
    let mut value = Vec::new();
    let file = File::open(path).context("open", path.display())?;
    file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut value).context("read", path.display())?;
    match value.len() as u64 > MAX_SECRET_BYTES {
        true => Err(Error::invalid(format!("the secret {id:?} is larger than 500 KiB"))),
        false => Ok(value),
    }
}

pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = File::options().create_new(true).write(true).mode(0o600).open(path);
    let mut file = file.context("make", path.display())?;
    std::io::Write::write_all(&mut file, bytes).context("write", path.display())
}
