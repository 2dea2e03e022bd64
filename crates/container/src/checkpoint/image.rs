//! Checkpoints as images, which go to registries and come from them.
//!
//! The form is Podman's: one layer whose root holds the members of an archive, and annotations of the
//! manifest by which others know what it is. The layers of the image that the container was made of
//! are not in it: it is named, by its own id and by that of its manifest, and has to be there, or to be
//! pulled, when the checkpoint is restored. So checkpoints of one image share it by leaving it out.

use std::{collections::BTreeMap, fs, io::BufWriter};

use stasis_oci::{Descriptor, History, ImageConfig, Manifest, ManifestKind, Reference, media_type};
use stasis_store::{Image, Silent};

use super::{Checkpoint, Checkpoints, Fetch, Staged, Stored};
use crate::{
    config::Rootfs,
    error::{Context, Error, Result},
};

const PODMAN: &str = "io.podman.annotations.checkpoint.";
const CRIO: &str = "io.kubernetes.cri-o.annotations.checkpoint.";
/// Tools for checkpoints of any engine read these.
const NEUTRAL: &str = "org.criu.checkpoint.";
/// By these Podman, CRI-O and tools for any engine know an image of a checkpoint.
const MARKERS: [&str; 3] = [
    "io.podman.annotations.checkpoint.runtime.name",
    "io.kubernetes.cri-o.annotations.checkpoint.name",
    "org.criu.checkpoint.engine.name",
];
/// The runtime that others shall restore it with: they refuse another one than in `config.dump`.
const RUNTIME: &str = "runc";
/// The version of CRIU whose format the files have.
const CRIU_VERSION: &str = "40200";
const WRITE_BYTES: usize = 1 << 20;

/// Was this image made of a checkpoint?
pub fn is_of_checkpoint(image: &Image) -> bool {
    MARKERS.iter().any(|marker| image.manifest.annotations.contains_key(*marker))
}

impl Checkpoints {
    /// Makes an image of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a file of the checkpoint is not as it was written, [`Error::Images`] by
    /// the store. There is no image then.
    pub fn make_image(&self, stored: &Stored, name: &Reference) -> Result<Image> {
        let _held = stored.hold()?;
        let adding = self.home.images().begin()?;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, adding.new_blob()?);
        self.write_archive(stored, &mut out)?;
        let blob = out.into_inner().map_err(|error| error.into_error());
        let blob = blob.context("write", "the layer of a checkpoint")?.finish(None)?;
        let layer = Descriptor::new(media_type::OCI_LAYER, blob.digest, blob.size);
        let mut config = ImageConfig::scratch();
        config.created = Some(stored.checkpoint.created);
        config.rootfs.diff_ids.push(blob.digest);
        config.history.push(History {
            created: config.created,
            created_by: format!("checkpoint {} of a container", stored.checkpoint.name),
            ..History::default()
        });
        let config = config.to_bytes();
        adding.add_bytes(&config)?;
        let config = Descriptor::of(media_type::OCI_CONFIG, &config);
        let mut manifest = Manifest::new(ManifestKind::Oci, config, vec![layer]);
        manifest.annotations = self.annotations(&stored.checkpoint);
        let names = std::slice::from_ref(name);
        Ok(adding.add_image(&manifest.to_bytes(), names, &mut Silent)?)
    }

    /// The checkpoint that an image holds, verified as one of an archive.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it holds none, otherwise as [`Checkpoints::unpack_fetching`].
    pub fn unpack_image(&self, image: &Image, fetch: Fetch<'_>) -> Result<Staged> {
        let name = image.display_name();
        if !is_of_checkpoint(image) {
            return Err(Error::invalid(format!("image {name} holds no checkpoint")));
        }
        let [layer] = image.manifest.layers.as_slice() else {
            let count = image.manifest.layers.len();
            return Err(Error::invalid(format!(
                "image {name} has {count} layers, and one of a checkpoint has one"
            )));
        };
        self.unpack_fetching(self.home.images().open_blob(&layer.digest)?, &[], fetch)
    }

    fn annotations(&self, checkpoint: &Checkpoint) -> BTreeMap<String, String> {
        let config = &checkpoint.container;
        let (id, name) = match &config.rootfs {
            Rootfs::Image { image, name } => (image.hex(), name.clone()),
            Rootfs::Directory { dir, .. } => (String::new(), dir.display().to_string()),
        };
        let host = checkpoint.host.as_ref();
        let host_word = |word: fn(&super::Host) -> &str| host.map_or("", word).to_owned();
        let (distribution, distribution_version) = distribution();
        let of_both = [
            ("name", config.name.clone()),
            ("rawImageName", name.clone()),
            ("rootfsImageID", id.clone()),
            ("rootfsImageName", name.clone()),
            ("criu.version", CRIU_VERSION.into()),
        ];
        let podmans = [
            ("runtime.name", RUNTIME.into()),
            ("host.arch", host_word(|host| &host.architecture)),
            ("host.kernel", host_word(|host| &host.kernel)),
            ("cgroups.version", host_word(|host| host.cgroups.word())),
            ("distribution.name", distribution.clone()),
            ("distribution.version", distribution_version.clone()),
        ];
        let neutral = [
            ("engine.name", "stasis".into()),
            ("engine.version", env!("CARGO_PKG_VERSION").into()),
            ("container.name", config.name.clone()),
            ("rootfsImageName", name.clone()),
            ("rootfsImageUserRequested", name.clone()),
            ("rootfsImageID", id),
            ("rawImageName", name.clone()),
            ("runtime.name", RUNTIME.into()),
            ("criu.version", CRIU_VERSION.into()),
            ("host.arch", host_word(|host| &host.architecture)),
            ("host.kernel", host_word(|host| &host.kernel)),
            ("cgroup.version", host_word(|host| host.cgroups.word())),
            ("distribution.name", distribution),
            ("distribution.version", distribution_version),
        ];
        let base = [
            ("org.opencontainers.image.base.name", name),
            ("org.opencontainers.image.base.digest", self.base_digest(checkpoint)),
        ];
        let prefixed = |prefix: &'static str| {
            move |(key, value): (&str, String)| (format!("{prefix}{key}"), value)
        };
        of_both
            .clone()
            .into_iter()
            .map(prefixed(CRIO))
            .chain(of_both.into_iter().chain(podmans).map(prefixed(PODMAN)))
            .chain(neutral.into_iter().map(prefixed(NEUTRAL)))
            .chain(base.into_iter().map(prefixed("")))
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }

    /// The digest of the manifest of the image that it stands on, if that is here.
    fn base_digest(&self, checkpoint: &Checkpoint) -> String {
        let image = checkpoint.container.rootfs.image();
        let found = image.and_then(|id| self.home.images().find_id(id).ok());
        found.map(|image| image.manifest_digest.to_string()).unwrap_or_default()
    }
}

/// Name and version of this host's distribution (os-release(5)).
fn distribution() -> (String, String) {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.next().map(|value| value.trim_matches('"').to_owned()).unwrap_or_default()
    };
    (value("ID"), value("VERSION_ID"))
}
