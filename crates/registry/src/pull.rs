//! Pulling: an image from a registry into the store.

use std::{
    collections::BTreeSet,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use stasis_oci::{
    Descriptor, Digest, Document, ImageConfig, MAX_DOCUMENT_BYTES, Manifest, Platform, Reference,
    Repository, Tag,
};
use stasis_store::{Adding, Image, ImageStore, Layer};

use crate::{
    download,
    error::{Error, Result},
    progress::{Lines, Progress, Silent, Step},
    retry::persistently,
    runtime::EventLoop,
    session::{Access, Fetched, Name, Purpose, Session},
};

/// So many layers come at once, as with Docker.
const LAYERS_AT_ONCE: usize = 3;

/// How an image is pulled.
#[derive(Clone, Debug)]
pub struct PullOptions {
    pub access: Access,
    /// For which machine, if not for this one.
    pub platform: Option<Platform>,
}

/// When an image is pulled that shall be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    /// If it is not here.
    #[default]
    Missing,
    Never,
}

/// An image that was pulled.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub image: Image,
    /// Of what the name led to, which may be an index.
    pub digest: Digest,
    pub freshness: Freshness,
}

/// Whether the image of that name is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    New,
    Unchanged,
}

/// What a name in a registry leads to.
struct Found {
    /// The index if there is one, else the manifest.
    top: Digest,
    bytes: Vec<u8>,
    manifest: Manifest,
}

/// Pulls an image. It is in the store, whole and under its name, when this returns.
///
/// # Errors
/// Those of the connection, the registry, and the store; [`Error::NoPlatform`] if there is none for
/// the machine that is meant.
pub fn pull(
    store: &ImageStore,
    reference: &Reference,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Pulled> {
    let adding = store.begin()?;
    let events = EventLoop::new()?;
    let repository = reference.repository();
    let session = events.run(Session::open(repository, &options.access, Purpose::Pull))?;
    let found = events.run(find(&session, reference, options.platform.as_ref()))?;
    let freshness = freshness(store, reference, &found)?;
    if freshness == Freshness::New || !is_complete(store, &found.manifest) {
        load(&events, &session, &adding, &found.manifest, options, progress)?;
    }
    let names = names(reference, found.top);
    let image = adding.add_image(&found.bytes, &names, &mut stasis_store::Silent)?;
    Ok(Pulled { image, digest: found.top, freshness })
}

/// The image that a user has named, pulled if the policy says so.
///
/// The caller holds the store ([`ImageStore::hold`]), so that the image stays.
///
/// # Errors
/// As [`pull`]; [`stasis_store::Error::NoSuchImage`] if it is not here and may not be pulled.
pub fn obtain(
    store: &ImageStore,
    key: &str,
    policy: PullPolicy,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    let fits = |image: &Image| {
        let is_wanted = |platform: &Platform| platform.accepts(&platform_of(&image.config));
        options.platform.as_ref().is_none_or(is_wanted)
    };
    if policy != PullPolicy::Always {
        match store.find(key) {
            Ok(image) if fits(&image) => return Ok(image),
            Err(stasis_store::Error::NoSuchImage(_)) | Ok(_) if policy == PullPolicy::Missing => {}
            found => return Ok(found?),
        }
    }
    Ok(pull(store, &key.parse()?, options, progress)?.image)
}

/// All tags of a repository.
///
/// # Errors
/// Those of the connection and of the registry.
pub fn tags(repository: &Repository, access: &Access) -> Result<Vec<Tag>> {
    EventLoop::new()?.run(async {
        let session = Session::open(repository, access, Purpose::Pull).await?;
        persistently(async || session.tags().await).await
    })
}

/// Finds the manifest for a machine.
async fn find(
    session: &Session,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Result<Found> {
    let Fetched { bytes, digest: top, document } =
        persistently(async || session.document(&Name::of(reference)).await).await?;
    let index = match document {
        Document::Manifest(manifest) => return Ok(Found { top, bytes, manifest }),
        Document::Index(index) => index,
    };
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let Some(chosen) = index.choose(&wanted) else {
        let offered = index.manifests.iter().filter_map(|manifest| manifest.platform.as_ref());
        let offered: Vec<String> = offered.map(ToString::to_string).collect();
        let reference = reference.familiar();
        return Err(Error::NoPlatform {
            reference,
            wanted: wanted.to_string(),
            offered: offered.join(", "),
        });
    };
    let name = Name::Digest(chosen.digest);
    let fetched = persistently(async || session.document(&name).await).await?;
    match fetched.document {
        Document::Manifest(manifest) => Ok(Found { top, bytes: fetched.bytes, manifest }),
        Document::Index(_) => {
            let object = format!("the manifest {}", chosen.digest);
            Err(session.asked(&object).unexpected("one more index"))
        }
    }
}

fn freshness(store: &ImageStore, reference: &Reference, found: &Found) -> Result<Freshness> {
    let manifest = Digest::of(&found.bytes);
    match store.find(&reference.to_string()) {
        Ok(image) if image.manifest_digest == manifest => Ok(Freshness::Unchanged),
        Ok(_) | Err(stasis_store::Error::NoSuchImage(_)) => Ok(Freshness::New),
        Err(error) => Err(error.into()),
    }
}

fn is_complete(store: &ImageStore, manifest: &Manifest) -> bool {
    let mut contents = manifest.layers.iter().chain([&manifest.config]);
    contents.all(|content| store.has_blob(&content.digest))
}

/// What the image is called here: a digest in the name leaves the tag out, as with Docker.
fn names(reference: &Reference, top: Digest) -> Vec<Reference> {
    let by_digest = reference.repository().with_digest(top);
    match (reference.digest(), reference.tag()) {
        (None, Some(tag)) => vec![reference.repository().with_tag(tag.clone()), by_digest],
        _ => vec![by_digest],
    }
}

/// Brings configuration and layers into the store. Layers are unpacked while others come.
fn load(
    events: &EventLoop,
    session: &Session,
    adding: &Adding,
    manifest: &Manifest,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let config = events.run(fetch_config(session, adding, &manifest.config))?;
    check_platform(session, &config, options.platform.as_ref())?;
    let layers = layers(session, manifest, &config)?;
    let lines = Lines::new(&layers, |layer| layer.blob.digest, progress);
    thread::scope(|scope| {
        let (ready, next) = mpsc::channel();
        let unpacker = scope.spawn(|| unpack_in_order(adding.store(), &layers, next, &lines));
        let loaded = events.run(fetch_layers(session, adding, &layers, &lines, ready));
        let unpacked = unpacker.join().expect("a layer that is refused is an error, not a panic");
        // If a layer cannot be unpacked, no more are fetched, but nothing is wrong with that.
        unpacked.and(loaded)
    })
}

async fn fetch_config(
    session: &Session,
    adding: &Adding,
    blob: &Descriptor,
) -> Result<ImageConfig> {
    if blob.size > MAX_DOCUMENT_BYTES as u64 {
        let object = format!("the configuration {}", blob.digest);
        return Err(session.asked(&object).too_large(MAX_DOCUMENT_BYTES as u64));
    }
    download::fetch(session, adding, blob, &Silent).await?;
    Ok(ImageConfig::parse(&adding.store().read_document(&blob.digest)?)?)
}

/// An index was asked for the right machine; a single manifest was not.
fn check_platform(
    session: &Session,
    config: &ImageConfig,
    wanted: Option<&Platform>,
) -> Result<()> {
    let offered = platform_of(config);
    match wanted {
        Some(wanted) if !wanted.accepts(&offered) => Err(Error::NoPlatform {
            reference: session.repository().familiar(),
            wanted: wanted.to_string(),
            offered: offered.to_string(),
        }),
        _ => Ok(()),
    }
}

fn platform_of(config: &ImageConfig) -> Platform {
    Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os_version: config.os_version.clone(),
    }
}

fn layers(session: &Session, manifest: &Manifest, config: &ImageConfig) -> Result<Vec<Layer>> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        let (layers, named) = (manifest.layers.len(), diff_ids.len());
        let reason = format!("{layers} layers, of which the configuration names {named}");
        return Err(session.asked("the manifest").unexpected(reason));
    }
    let pair =
        |(blob, diff_id): (&Descriptor, &Digest)| Layer { blob: blob.clone(), diff_id: *diff_id };
    Ok(manifest.layers.iter().zip(diff_ids).map(pair).collect())
}

/// Fetches all layers; tells after each how many of the lowest ones are here without a gap.
async fn fetch_layers(
    session: &Session,
    adding: &Adding,
    layers: &[Layer],
    lines: &Lines,
    ready: Sender<usize>,
) -> Result<()> {
    // The same layer may be there twice, and is fetched once.
    let mut seen = BTreeSet::new();
    let firsts: Vec<&Layer> =
        layers.iter().filter(|layer| seen.insert(layer.blob.digest)).collect();
    let fetches = stream::iter(firsts).map(async |layer| {
        download::fetch(session, adding, &layer.blob, &**lines.of(&layer.blob.digest)).await
    });
    let mut finished = fetches.buffer_unordered(LAYERS_AT_ONCE);
    let mut told = 0;
    while let Some(()) = finished.try_next().await? {
        let is_here = |layer: &&Layer| adding.store().has_blob(&layer.blob.digest);
        let here = layers.iter().take_while(is_here).count();
        if here > told && ready.send(here).is_err() {
            // Who unpacks has met an error, and tells it.
            return Ok(());
        }
        told = here;
    }
    Ok(())
}

/// Unpacks layers as soon as all below them are there.
fn unpack_in_order(
    store: &ImageStore,
    layers: &[Layer],
    ready: Receiver<usize>,
    lines: &Lines,
) -> Result<()> {
    for here in ready {
        store.lower_dirs_of(&layers[..here], &mut Unpacking { lines, current: None })?;
    }
    Ok(())
}

/// Passes on what the store tells.
struct Unpacking<'a> {
    lines: &'a Lines,
    current: Option<Digest>,
}

impl stasis_store::Progress for Unpacking<'_> {
    fn begin(&mut self, layer: &Digest, _len_bytes: u64) {
        self.current = Some(*layer);
        self.lines.of(layer).step(Step::Unpacking);
    }

    fn at(&mut self, bytes: u64) {
        if let Some(layer) = &self.current {
            self.lines.of(layer).at(bytes);
        }
    }

    fn end(&mut self) {
        if let Some(layer) = self.current.take() {
            self.lines.of(&layer).step(Step::Unpacked);
        }
    }
}
