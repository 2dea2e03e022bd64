//! `commit`: an image of what a container has become.

use jiff::Timestamp;
use stasis_oci::{
    Descriptor, History, ImageConfig, Manifest, ManifestKind, Reference, RunConfig, media_type,
};
use stasis_store::{Adding, Image, ImageStore, Layer, Silent};

use crate::{
    attach::Session,
    config::{Config, Rootfs},
    error::{Context, Result},
    frame::Frame,
    inside, rootfs, signal,
    state::Status,
    store::Container,
};

/// What the new image says of itself.
pub struct Commit<'a> {
    /// Without a name the image is there by its id.
    pub name: Option<Reference>,
    pub author: Option<String>,
    pub comment: String,
    pub pausing: Pausing,
    /// The last hand on what a container of the image starts with.
    pub change: &'a dyn Fn(&mut RunConfig),
}

/// Do the tasks stand still while their files are read?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pausing {
    Pause,
    RunOn,
}

impl Container {
    /// Makes an image: the layers of the container's own image with its changes above them. A
    /// container that stands on a directory of the host gives an image of one layer, which holds all.
    ///
    /// # Errors
    /// [`Error::WrongState`] if the engine's own files lie in the container's root file system;
    /// [`Error::Images`] naming a file that no layer can hold.
    pub fn commit(&self, commit: &Commit) -> Result<Image> {
        let _lock = self.command_lock()?;
        let images = self.home.images();
        let adding = images.begin()?;
        let base = self.base(&images)?;
        let pause = self.pause_for(commit.pausing)?;
        let layer = self.pack_changes(&adding)?;
        pause.end()?;
        let config = self.image_config(&base, &layer, commit);
        let layers = base.layers.iter().chain(Some(&layer).filter(|layer| !layer.is_empty()));
        add_image(&adding, base.kind, &config, layers, commit.name.as_ref())
    }

    fn base(&self, images: &ImageStore) -> Result<Base> {
        let Some(id) = self.config.rootfs.image() else {
            let kind = ManifestKind::Oci;
            return Ok(Base { config: ImageConfig::scratch(), layers: Vec::new(), kind });
        };
        let image = images.find_id(id)?;
        Ok(Base { layers: image.layers(), kind: image.manifest.kind(), config: image.config })
    }

    fn pack_changes(&self, adding: &Adding) -> Result<Layer> {
        match &self.config.rootfs {
            Rootfs::Image { .. } => {
                let upper = self.place.upper();
                // Before its first start it has changed nothing.
                let nothing = tempfile::tempdir().context("make", "an empty directory")?;
                let changes = if upper.exists() { upper.as_path() } else { nothing.path() };
                Ok(adding.commit_layer(changes)?)
            }
            Rootfs::Directory { dir, .. } if self.place.dir.starts_with(dir) => Err(self
                .wrong_state(format!(
                    "stands on {}, where the engine keeps its own files: an image of it would hold \
                     itself",
                    dir.display()
                ))),
            Rootfs::Directory { .. } => {
                let root = rootfs::open(self)?;
                Ok(adding.commit_layer(&inside::path_of(&root))?)
            }
        }
    }

    /// The tasks stand still as long as the value lives.
    fn pause_for(&self, pausing: Pausing) -> Result<Standstill<'_>> {
        let is_running = self.state()?.status == Status::Running;
        if pausing == Pausing::RunOn || !is_running {
            return Ok(Standstill { container: self, session: None });
        }
        // The monitor thaws the container if we die from here on.
        let mut session = Session::connect(self)?;
        session.ask(&Frame::Hold)?;
        let standstill = Standstill { container: self, session: Some(session) };
        self.cgroup().freeze()?;
        Ok(standstill)
    }

    fn image_config(&self, base: &Base, layer: &Layer, commit: &Commit) -> ImageConfig {
        let now = Timestamp::now();
        let mut config = base.config.clone();
        config.created = Some(now);
        config.author.clone_from(&commit.author);
        config.config = run_config(&self.config, &base.config.config);
        (commit.change)(&mut config.config);
        if !layer.is_empty() {
            config.rootfs.diff_ids.push(layer.diff_id);
        }
        config.history.push(History {
            created: Some(now),
            created_by: self.config.command().join(" "),
            author: commit.author.clone().unwrap_or_default(),
            comment: commit.comment.clone(),
            empty_layer: layer.is_empty(),
        });
        config
    }
}

/// What the new layer lies on.
struct Base {
    config: ImageConfig,
    layers: Vec<Layer>,
    kind: ManifestKind,
}

/// What a container of the new image starts with: what this one was started with.
fn run_config(container: &Config, image: &RunConfig) -> RunConfig {
    let stop_signal = signal::name(container.stop.signal);
    let is_default = image.stop_signal.is_none() && stop_signal == "SIGTERM";
    let ports = container.exposed_ports.iter().map(|port| (port.clone(), serde_json::json!({})));
    RunConfig {
        user: container.user.clone(),
        exposed_ports: ports.collect(),
        env: container.env.clone(),
        entrypoint: container.entrypoint.clone(),
        cmd: Some(container.command().to_vec()).filter(|words| !words.is_empty()),
        working_dir: if container.cwd == "/" { String::new() } else { container.cwd.clone() },
        labels: container.labels.clone(),
        stop_signal: if is_default { None } else { Some(stop_signal) },
        healthcheck: container.healthcheck.clone(),
        ..image.clone()
    }
}

fn add_image<'a>(
    adding: &Adding,
    kind: ManifestKind,
    config: &ImageConfig,
    layers: impl Iterator<Item = &'a Layer>,
    name: Option<&Reference>,
) -> Result<Image> {
    let (config_type, layer_type) = match kind {
        ManifestKind::Oci => (media_type::OCI_CONFIG, media_type::OCI_LAYER),
        ManifestKind::Docker => (media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER),
    };
    let config = config.to_bytes();
    adding.add_bytes(&config)?;
    let blobs = layers.map(|layer| match layer.blob.media_type.as_str() {
        // As we pack them; those that came from elsewhere keep their type.
        media_type::OCI_LAYER => Descriptor { media_type: layer_type.into(), ..layer.blob.clone() },
        _ => layer.blob.clone(),
    });
    let config = Descriptor::of(config_type, &config);
    let manifest = Manifest::new(kind, config, blobs.collect());
    Ok(adding.add_image(
        &manifest.to_bytes(),
        name.map(std::slice::from_ref).unwrap_or_default(),
        &mut Silent,
    )?)
}

/// Lets the tasks go on.
struct Standstill<'a> {
    container: &'a Container,
    /// None if they were not stopped for us.
    session: Option<Session>,
}

impl Standstill<'_> {
    fn end(mut self) -> Result<()> {
        match self.session.take() {
            Some(_) => Ok(self.container.cgroup().thaw()?),
            None => Ok(()),
        }
    }
}

impl Drop for Standstill<'_> {
    fn drop(&mut self) {
        if self.session.take().is_some() {
            let _ = self.container.cgroup().thaw();
        }
    }
}
