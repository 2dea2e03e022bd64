//! From an archive to a new container with a checkpoint.
//!
//! Everything is unpacked beside, compared with its checksums and understood before there is a
//! container. An archive is hostile until then: it may hold files and directories only.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use oci_spec::runtime::Spec;
use stasis_enclosure::tar::{FilesLimits, unpack_files};
use stasis_network::Publish;

use super::{CONFIG_DUMP, LOG, NETWORK_STATUS, log, podman};
use crate::{
    checkpoint::{
        CONFIG, Checkpoint, DEVSHM, IMAGES, LeftOut, Maker, SHM_TARGET, SPEC_DUMP, VERSION, create,
        manifest, read,
    },
    config::{Config, Filling, Network, Rootfs},
    error::{Context, Error, Result},
    name, record,
    store::{Container, Store},
    volume::Volumes,
};

const LIMITS: FilesLimits = FilesLimits { max_files: 1 << 20, max_bytes: 1 << 42 };
/// Names no container can have.
const STAGE_PREFIX: &str = ".import-";
/// Under this name an archive's checkpoint lies with its container if it brings no name of its own.
const DEFAULT_NAME: &str = "imported";

/// How an archive becomes a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Import<'a> {
    /// A new container of this name, with an id of its own; `None` for the container of then.
    pub name: Option<&'a str>,
    pub left_out: LeftOut,
    pub addresses: Addresses,
    /// In the place of the ports that were published.
    pub publish: Option<&'a [Publish]>,
    /// In the place of the networks it was in.
    pub network: Option<&'a Network>,
}

/// What becomes of the addresses that a container had. A new container never gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    #[default]
    Same,
    Fresh,
}

/// A container that waits to be restored.
#[derive(Clone, Debug)]
pub struct Imported {
    pub container: Container,
    /// The name of its checkpoint.
    pub checkpoint: String,
}

impl Store {
    /// Makes a container of an archive of ours or of Podman's.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Enclosure`] for an archive that is not whole or hostile,
    /// [`Error::Invalid`] if its image, a name or an id stands in the way. Nothing is left then.
    pub fn import_checkpoint(
        &self,
        input: impl Read + Send,
        import: &Import<'_>,
    ) -> Result<Imported> {
        let stage = Stage::new(self)?;
        unpack(input, &stage.dir)?;
        let (checkpoint, config) = self.understand(&stage.dir, import)?;
        let volumes = self.volumes();
        let taken: Vec<String> = names_taken(&volumes, &checkpoint);
        if let (Some(name), None) = (taken.first(), import.name) {
            return Err(Error::invalid(format!(
                "volume {name} is there already: remove it, or use --ignore-volumes to go on with \
                 what it holds, or --name for a new container with volumes of its own"
            )));
        }
        let container = match import.name {
            Some(_) => self.create(config)?,
            None => self.create_again(config)?,
        };
        match settle(&stage, &container, checkpoint) {
            Ok(checkpoint) => Ok(Imported { container, checkpoint }),
            Err(error) => {
                container.remove_record()?;
                container.remove_anonymous_volumes()?;
                Err(error)
            }
        }
    }

    /// Reads what the archive says of itself, and what the new container shall be.
    fn understand(&self, dir: &Path, import: &Import<'_>) -> Result<(Checkpoint, Config)> {
        if !dir.join(IMAGES).join("inventory.img").is_file() {
            return Err(Error::invalid("the archive holds no checkpoint of a container"));
        }
        let mut checkpoint = match dir.join(CONFIG).is_file() {
            true => {
                manifest::verify(dir)?;
                read(dir)?
            }
            false => self.understand_podmans(dir)?,
        };
        name::check_name("checkpoint", &checkpoint.name)?;
        let mut config = checkpoint.container.clone();
        self.find_image(&mut config)?;
        if let Some(name) = import.name {
            config.name = name.to_owned();
            config.id = String::new();
            config.created = Timestamp::now();
        }
        if import.name.is_some() || import.addresses == Addresses::Fresh {
            checkpoint.endpoints.clear();
            forget_addresses(&mut config);
        }
        if let Some(network) = import.network {
            if !config.network.is_own() {
                let reason = "it had the host's network or another container's, and has no device \
                              of its own to connect";
                return Err(Error::invalid(reason));
            }
            checkpoint.endpoints.clear();
            config.network = network.clone();
        }
        if let Some(publish) = import.publish {
            config.network_options.publish = publish.to_vec();
        }
        if import.left_out.volumes {
            checkpoint.volumes.clear();
        }
        if import.name.is_some() {
            // They are copied: a new container never writes to what others have.
            config.mounts.iter_mut().for_each(|mount| mount.make_anonymous(&checkpoint.volumes));
        }
        Ok((checkpoint, config))
    }

    /// The image must be here; under its id, or under its name for makers that count ids otherwise.
    fn find_image(&self, config: &mut Config) -> Result<()> {
        let Rootfs::Image { image, name } = &mut config.rootfs else { return Ok(()) };
        if self.images().find_id(image).is_ok() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the checkpoint stands on image {name} ({}), which is not here: pull or load it first",
            image.short()
        )))
    }

    fn understand_podmans(&self, dir: &Path) -> Result<Checkpoint> {
        let dump: podman::ConfigDump = record::read(&dir.join(CONFIG_DUMP))?;
        let spec: Spec = record::read(&dir.join(SPEC_DUMP))?;
        let images = self.images();
        let image =
            images.find(&dump.rootfs_image_id).or_else(|_| images.find(&dump.rootfs_image_name));
        let image = image.map_err(|_| {
            Error::invalid(format!(
                "the checkpoint stands on image {}, which is not here: pull or load it first",
                dump.rootfs_image_name
            ))
        })?;
        let rootfs = Rootfs::Image { image: image.id, name: dump.rootfs_image_name.clone() };
        let status = fs::read(dir.join(NETWORK_STATUS)).unwrap_or_default();
        let connections = podman::connections(&status);
        let mut container = podman::config(&dump, &spec, rootfs, connections)?;
        container.id.clone_from(&dump.id);
        let has_file = |name: &str| dir.join(name).is_file();
        let volumes = dump.volumes.iter().flatten().map(|volume| volume.name.clone());
        Ok(Checkpoint {
            version: VERSION,
            name: DEFAULT_NAME.into(),
            created: dump.checkpointed.unwrap_or_else(Timestamp::now),
            parent: None,
            size_bytes: 0,
            kernel: String::new(),
            tmpfs: if has_file(DEVSHM) { vec![SHM_TARGET.into()] } else { Vec::new() },
            volumes: volumes.filter(|name| has_file(&format!("volumes/{name}.tar"))).collect(),
            log_bytes: None,
            losses: Vec::new(),
            endpoints: Vec::new(),
            made_by: Maker::Podman,
            container,
        })
    }
}

fn forget_addresses(config: &mut Config) {
    if let Network::Named(connections) = &mut config.network {
        for connection in connections {
            (connection.ip, connection.ip6, connection.mac) = (None, None, None);
        }
    }
}

fn names_taken(volumes: &Volumes, checkpoint: &Checkpoint) -> Vec<String> {
    checkpoint.volumes.iter().filter(|name| volumes.find(name).is_ok()).cloned().collect()
}

/// Gives the container the checkpoint: from here on it is one like any other.
fn settle(stage: &Stage, container: &Container, mut checkpoint: Checkpoint) -> Result<String> {
    let old = std::mem::replace(&mut checkpoint.container, container.config.clone());
    let renamed = rename_volumes(&stage.dir, &old, &mut checkpoint)?;
    let dir = &stage.dir;
    if dir.join(LOG).is_file() {
        log::from_podman(&dir.join(LOG), &container.log_path())?;
    }
    match checkpoint.made_by {
        Maker::Stasis => {
            record::write(&dir.join(CONFIG), &checkpoint)?;
            manifest::amend(dir, &renamed, &[Path::new(CONFIG)])?;
        }
        Maker::Podman => {
            checkpoint.size_bytes = manifest::size_bytes(dir)?;
            record::write(&dir.join(CONFIG), &checkpoint)?;
            manifest::seal(dir)?;
        }
    }
    container.adopt_checkpoint(dir, &checkpoint.name)?;
    Ok(checkpoint.name)
}

/// Volumes that were given new names keep their contents.
fn rename_volumes(
    dir: &Path,
    old: &Config,
    checkpoint: &mut Checkpoint,
) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut renamed = Vec::new();
    let pairs = old.mounts.iter().zip(&checkpoint.container.mounts);
    for (before, now) in pairs.filter_map(|(old, new)| Some((old.volume()?, new.volume()?))) {
        let Some(at) = checkpoint.volumes.iter().position(|name| *name == before.name) else {
            continue;
        };
        if before.name == now.name {
            continue;
        }
        let file = |name: &str| Path::new("volumes").join(format!("{name}.tar"));
        let (from, to) = (file(&before.name), file(&now.name));
        fs::rename(dir.join(&from), dir.join(&to)).context("rename", from.display())?;
        checkpoint.volumes[at].clone_from(&now.name);
        renamed.push((from, to));
    }
    Ok(renamed)
}

impl crate::config::Mount {
    /// A volume among `names` gets a name of its own when the container is made, and nothing from its
    /// image: its contents come from elsewhere.
    fn make_anonymous(&mut self, names: &[String]) {
        if let crate::config::MountKind::Volume(source) = &mut self.kind
            && names.contains(&source.name)
        {
            source.name = String::new();
            source.filling = Filling::Never;
        }
    }
}

fn unpack(input: impl Read + Send, dir: &Path) -> Result<()> {
    let read = AtomicU64::new(0);
    let counted = Counted { input, count: &read };
    let (_, plain) = stasis_store::decompressed(counted).context("read", "the archive")?;
    let read = &read;
    let mut guarded = Guarded { plain, given: 0, read };
    Ok(unpack_files(&mut guarded, dir, LIMITS)?)
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

/// Where an archive is unpacked; what is left there goes with it.
struct Stage {
    dir: PathBuf,
}

impl Stage {
    fn new(store: &Store) -> Result<Stage> {
        let dir = store.stage_dir(STAGE_PREFIX)?;
        create::remove_abandoned(dir.parent().unwrap_or(Path::new("/")), STAGE_PREFIX);
        record::remove_tree(&dir)?;
        record::make_private_dir(&dir)?;
        Ok(Stage { dir })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = record::remove_tree(&self.dir);
    }
}
