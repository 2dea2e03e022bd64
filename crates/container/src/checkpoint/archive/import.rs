//! From an archive to a checkpoint on disk.
//!
//! Everything is unpacked beside, compared with its checksums and understood before anybody sees it. An
//! archive is hostile until then: it may hold files and directories only.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use oci_spec::runtime::Spec;
use stasis_enclosure::tar::{FilesLimits, unpack_files};

use super::{CONFIG_DUMP, LOG, NETWORK_STATUS, STATS_DUMP, export::PARENT_LINK, podman};
use crate::{
    checkpoint::{
        Checkpoint, Checkpoints, Disk, Maker, Stored, VERSION,
        layout::{CONFIG, DEVSHM, IMAGES, SHM_TARGET, SPEC_DUMP},
        manifest::{self, Manifest},
        rounds::{self, Lies, PRE_CHECKPOINT},
        stage::Stage,
    },
    config::Rootfs,
    error::{Context, Error, Result},
    name,
    record::{self, Lock},
};

const LIMITS: FilesLimits = FilesLimits { max_files: 1 << 20, max_bytes: 1 << 42 };
/// What a checkpoint is called that brings no name of its own.
const DEFAULT_NAME: &str = "imported";
/// Members that are made anew for every archive.
const DERIVED: [&str; 4] = [CONFIG_DUMP, NETWORK_STATUS, STATS_DUMP, LOG];

/// Brings an image of this name here, or says why not.
pub type Fetch<'a> = &'a dyn Fn(&str) -> std::result::Result<(), String>;

/// A whole checkpoint that nobody sees yet; it goes with this value unless it is kept.
pub struct Staged {
    pub stored: Stored,
    stage: Stage,
}

/// A round of memory out of an archive of its own, whole; it goes with this value.
pub struct StagedRound {
    name: String,
    stage: Stage,
}

impl StagedRound {
    /// Of the round.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn dir(&self) -> &Path {
        &self.stage.dir
    }
}

impl Checkpoints {
    /// Unpacks the archive of a pre-checkpoint and looks whether it is whole.
    ///
    /// # Errors
    /// As [`Checkpoints::unpack`].
    pub fn unpack_previous(&self, input: impl Read + Send) -> Result<StagedRound> {
        self.unpack_round(input, PRE_CHECKPOINT)
    }

    /// The same of a round of this name.
    ///
    /// # Errors
    /// As [`Checkpoints::unpack`].
    pub(crate) fn unpack_round(&self, input: impl Read + Send, name: &str) -> Result<StagedRound> {
        rounds::check_name(name)?;
        let stage = Stage::new(&self.home)?;
        unpack(input, &stage.dir)?;
        if !stage.dir.join(name).is_dir() {
            return Err(Error::invalid(format!("the archive holds no {name}")));
        }
        match stage.dir.join(manifest::FILE).is_file() {
            true => manifest::verify(&stage.dir)?,
            // Podman has no checksums.
            false => manifest::seal(&stage.dir, &Manifest::new())?,
        }
        Ok(StagedRound { name: name.to_owned(), stage })
    }

    /// Unpacks an archive of ours or of Podman's, verifies and understands it. Rounds of memory that it
    /// builds upon and does not have become part of it.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Enclosure`] for an archive that is not whole or hostile,
    /// [`Error::Invalid`] for one that is none of a container, or without its rounds. Nothing is left
    /// then.
    pub fn unpack(&self, input: impl Read + Send, rounds: &[StagedRound]) -> Result<Staged> {
        self.unpack_fetching(input, rounds, &|_| Ok(()))
    }

    /// As [`Checkpoints::unpack`]; an image that the archive knows by its name alone, as Podman's do,
    /// and that is not here is asked for.
    ///
    /// # Errors
    /// As [`Checkpoints::unpack`]. Why an image could not be fetched is told with it.
    pub fn unpack_fetching(
        &self,
        input: impl Read + Send,
        rounds: &[StagedRound],
        fetch: Fetch<'_>,
    ) -> Result<Staged> {
        let stage = Stage::new(&self.home)?;
        unpack(input, &stage.dir)?;
        let dir = &stage.dir;
        if !dir.join(IMAGES).join("inventory.img").is_file() {
            return Err(Error::invalid(match dir.join(PRE_CHECKPOINT).is_dir() {
                true => {
                    "the archive holds a pre-checkpoint, which is memory alone: give it with \
                     --import-previous, and the archive of the checkpoint with --import"
                }
                false => "the archive holds no checkpoint of a container",
            }));
        }
        if !dir.join(CONFIG).is_file() {
            let mut checkpoint = self.understand_podmans(dir, fetch)?;
            checkpoint.size_bytes = manifest::size_bytes(dir)?;
            record::write(&dir.join(CONFIG), &checkpoint)?;
            manifest::seal(dir, &Manifest::new())?;
        }
        manifest::verify(dir)?;
        let mut stored = Stored::read(dir)?;
        gather(dir, &mut stored.checkpoint, rounds)?;
        Ok(Staged { stored, stage })
    }

    /// Puts a checkpoint among the others, under `name` or its own; if that is taken already, under
    /// another one that begins with it. One that is here already is not stored twice.
    ///
    /// # Errors
    /// [`Error::Invalid`] if another checkpoint has its id, or a checkpoint of the same container has
    /// `name`.
    pub fn keep(&self, staged: Staged, name: Option<&str>) -> Result<Stored> {
        let Staged { stored, mut stage } = staged;
        let mut checkpoint = stored.checkpoint;
        let _names = Lock::take(&self.home.checkpoints_lock())?;
        if let Ok(there) = self.open(&checkpoint.id) {
            return if is_same(&there.dir, &stage.dir)? {
                Ok(there)
            } else {
                Err(id_taken(&there))
            };
        }
        checkpoint.name = self.free_name(&checkpoint, name)?;
        record::write(&stage.dir.join(CONFIG), &checkpoint)?;
        manifest::amend(&stage.dir, &[Path::new(CONFIG)])?;
        stage.target = self.home.checkpoints().join(&checkpoint.id);
        Ok(Stored::new(checkpoint, stage.finish()?))
    }

    fn free_name(&self, checkpoint: &Checkpoint, wanted: Option<&str>) -> Result<String> {
        let of_container = self.of(&checkpoint.container.id)?;
        let is_taken = |name: &str| of_container.iter().any(|one| one.checkpoint.name == name);
        let container = &checkpoint.container.name;
        match wanted {
            Some(name) if is_taken(name) => Err(Error::invalid(format!(
                "container {container} already has a checkpoint {name}: choose another name"
            ))),
            Some(name) => name::check_name("checkpoint", name).map(|()| name.to_owned()),
            None if is_taken(&checkpoint.name) => {
                Ok(format!("{}-{}", checkpoint.name, &checkpoint.id[..12]))
            }
            None => Ok(checkpoint.name.clone()),
        }
    }

    fn understand_podmans(&self, dir: &Path, fetch: Fetch<'_>) -> Result<Checkpoint> {
        let dump: podman::ConfigDump = record::read(&dir.join(CONFIG_DUMP))?;
        let spec: Spec = record::read(&dir.join(SPEC_DUMP))?;
        let images = self.home.images();
        let name = &dump.rootfs_image_name;
        let find = || images.find(&dump.rootfs_image_id).or_else(|_| images.find(name));
        let missing = |reason: &str| {
            let what = format!("the checkpoint stands on image {name}, which is not here");
            Error::invalid(format!("{what}{reason}: pull or load it first"))
        };
        let image = match find() {
            Ok(image) => image,
            Err(_) => {
                fetch(name).map_err(|reason| missing(&format!(" ({reason})")))?;
                find().map_err(|_| missing(""))?
            }
        };
        let rootfs = Rootfs::Image { image: image.id, name: dump.rootfs_image_name.clone() };
        let status = fs::read(dir.join(NETWORK_STATUS)).unwrap_or_default();
        let connections = podman::connections(&status);
        let mut container = podman::config(&dump, &spec, rootfs, connections)?;
        container.id.clone_from(&dump.id);
        let has_file = |name: &str| dir.join(name).is_file();
        let volumes = dump.volumes.iter().flatten().map(|volume| volume.name.clone());
        Ok(Checkpoint {
            version: VERSION,
            id: name::draw_id()?,
            name: DEFAULT_NAME.into(),
            created: dump.checkpointed.unwrap_or_else(Timestamp::now),
            parent: None,
            size_bytes: 0,
            host: None,
            disk: Disk::Within,
            tmpfs: if has_file(DEVSHM) { vec![SHM_TARGET.into()] } else { Vec::new() },
            volumes: volumes.filter(|name| has_file(&format!("volumes/{name}.tar"))).collect(),
            log_bytes: None,
            losses: Vec::new(),
            endpoints: Vec::new(),
            made_by: Maker::Podman,
            rounds: Vec::new(),
            container,
        })
    }
}

/// Brings rounds that lay elsewhere to the checkpoint in `dir`.
///
/// # Errors
/// [`Error::Invalid`] if a round is missing, or there is another one of its name.
fn gather(dir: &Path, checkpoint: &mut Checkpoint, others: &[StagedRound]) -> Result<()> {
    if checkpoint.rounds.iter().all(|round| round.lies == Lies::WithTheCheckpoint) {
        return Ok(());
    }
    let mut sums = manifest::read(dir)?;
    for round in &mut checkpoint.rounds {
        if round.lies == Lies::WithTheCheckpoint {
            continue;
        }
        let Some(other) = others.iter().find(|other| other.name() == round.name) else {
            return Err(Error::invalid(format!(
                "the archive holds only what changed since {}: give the archive of that with \
                 --import-previous",
                round.name
            )));
        };
        let own = manifest::below(&manifest::read(other.dir())?, &round.name);
        if manifest::digest(&own)? != round.digest {
            return Err(Error::invalid(format!(
                "the archive builds upon another {} than the one of --import-previous",
                round.name
            )));
        }
        let (from, to) = (other.dir().join(&round.name), dir.join(&round.name));
        fs::rename(&from, &to).context("rename", from.display())?;
        round.lies = Lies::WithTheCheckpoint;
        sums.extend(own);
    }
    let config = serde_json::to_vec_pretty(checkpoint)
        .map_err(|error| Error::Damaged { object: CONFIG.into(), reason: error.to_string() })?;
    fs::write(dir.join(CONFIG), &config).context("write", CONFIG)?;
    sums.insert(CONFIG.into(), manifest::sum_of(&config));
    manifest::replace(dir, &sums)
}

/// Do both hold the same, but for what says how it is called?
fn is_same(one: &Path, other: &Path) -> Result<bool> {
    let (one, other) = (manifest::read(one)?, manifest::read(other)?);
    let is_derived = |path: &Path| {
        path == Path::new(CONFIG) || DERIVED.iter().any(|name| path == Path::new(name))
    };
    Ok(one.iter().all(|(path, sum)| is_derived(path) || other.get(path) == Some(sum)))
}

fn id_taken(there: &Stored) -> Error {
    Error::invalid(format!(
        "another checkpoint has the id {} already: {} of container {}",
        there.short_id(),
        there.checkpoint.name,
        there.checkpoint.container.name
    ))
}

fn unpack(input: impl Read + Send, dir: &Path) -> Result<()> {
    let read = AtomicU64::new(0);
    let counted = Counted { input, count: &read };
    let (_, plain) = stasis_store::decompressed(counted).context("read", "the archive")?;
    let read = &read;
    let mut guarded = Guarded { plain, given: 0, read };
    Ok(unpack_files(&mut guarded, dir, LIMITS, is_parent_link)?)
}

/// The link by which CRIU finds a round beside the checkpoint; we are told of rounds otherwise.
fn is_parent_link(path: &Path, link: &Path) -> bool {
    let beside = link.strip_prefix("..").ok().and_then(Path::to_str);
    path == Path::new(PARENT_LINK) && beside.is_some_and(|name| name::check_name("", name).is_ok())
}

struct Counted<'a, R> {
    input: R,
    count: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Refuses what becomes suspiciously large: pages of zeros are not stored, so nothing shrinks so much.
struct Guarded<'a> {
    plain: Box<dyn Read + Send + 'a>,
    given: u64,
    read: &'a AtomicU64,
}

const HARMLESS_BYTES: u64 = 1 << 30;
const MAX_RATIO: u64 = 500;

impl Read for Guarded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        self.given += count as u64;
        if self.given > HARMLESS_BYTES && self.given / MAX_RATIO > self.read.load(Ordering::Relaxed)
        {
            let reason = "it becomes more than 500 times as large as it is: this is no checkpoint";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(count)
    }
}
