//! Pushing: an image from the store to a registry.
//!
//! An image that came from elsewhere goes on as the bytes it came in. Layers that are stored plain
//! are compressed, which makes another manifest of the same image.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use stasis_oci::{Descriptor, Digest, Reference, Repository};
use stasis_store::{Adding, Image, ImageStore, Layer};

use crate::{
    compression::{self, Compression},
    error::{Error, Result},
    progress::{Lines, Progress, Silent, Step},
    retry::persistently,
    runtime::{EventLoop, beside},
    session::{Access, Name, Purpose, Session},
    upload::{self, Spared},
};

/// So many layers go at once.
const LAYERS_AT_ONCE: usize = 3;

/// How an image is pushed.
#[derive(Clone, Debug)]
pub struct PushOptions {
    pub access: Access,
    pub compression: Compression,
}

/// What the registry has now under the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub digest: Digest,
    /// Of the manifest.
    pub size_bytes: u64,
}

/// Everything that the layers of one push need.
struct Push<'a> {
    adding: &'a Adding,
    session: &'a Session,
    image: &'a Image,
    compression: Compression,
    sources: &'a BTreeMap<Digest, Repository>,
    lines: &'a Lines,
}

/// Pushes the image of that name.
///
/// # Errors
/// [`Error::Invalid`] for a name with a digest, since a registry gives those itself; those of the
/// connection, the registry, and the store.
pub fn push(
    store: &ImageStore,
    reference: &Reference,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let (None, Some(tag)) = (reference.digest(), reference.tag()) else {
        return Err(Error::Invalid("an image is pushed by tag, not by digest".into()));
    };
    // What is compressed on the way must not be swept before it is sent.
    let adding = store.begin()?;
    let image = store.find(&reference.to_string())?;
    let repository = reference.repository();
    let sources = sources(store, &image, repository)?;
    let from: Vec<Repository> =
        sources.values().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let events = EventLoop::new()?;
    let purpose = Purpose::Push { from: &from };
    let session = events.run(Session::open(repository, &options.access, purpose))?;
    let lines = Lines::new(&image.layers(), |layer| layer.diff_id, progress);
    let push = Push {
        adding: &adding,
        session: &session,
        image: &image,
        compression: options.compression,
        sources: &sources,
        lines: &lines,
    };
    let forms = events.run(push.send_layers())?;
    events.run(push.send_config())?;
    let bytes = push.manifest(&forms)?;
    let name = Name::Tag(tag.clone());
    let media_type = image.manifest.media_type();
    events.run(persistently(async || session.put_document(&name, media_type, &bytes).await))?;
    let digest = Digest::of(&bytes);
    store.tag(&image, &repository.with_digest(digest))?;
    Ok(Pushed { digest, size_bytes: bytes.len() as u64 })
}

/// Which other repository of the registry has a layer: images that came from there or went there
/// are called by digest too.
fn sources(
    store: &ImageStore,
    image: &Image,
    target: &Repository,
) -> Result<BTreeMap<Digest, Repository>> {
    let wanted: BTreeSet<Digest> = image.layers().iter().map(|layer| layer.blob.digest).collect();
    let mut sources = BTreeMap::new();
    for other in store.list()? {
        let mut repositories = other.repo_digests().map(Reference::repository);
        let is_beside = |repository: &&Repository| {
            repository.registry() == target.registry() && *repository != target
        };
        let Some(repository) = repositories.find(is_beside) else { continue };
        for layer in other.layers().iter().filter(|layer| wanted.contains(&layer.blob.digest)) {
            sources.entry(layer.blob.digest).or_insert_with(|| repository.clone());
        }
    }
    Ok(sources)
}

impl Push<'_> {
    /// Sends all layers; gives for each in which form.
    async fn send_layers(&self) -> Result<BTreeMap<Digest, Descriptor>> {
        // The same layer may be there twice, and is sent once.
        let layers = self.image.layers();
        let by_digest: BTreeMap<Digest, &Layer> =
            layers.iter().map(|layer| (layer.blob.digest, layer)).collect();
        let sending = stream::iter(by_digest)
            .map(async |(digest, layer)| Ok((digest, self.send_layer(layer).await?)));
        sending.buffer_unordered(LAYERS_AT_ONCE).try_collect().await
    }

    async fn send_layer(&self, layer: &Layer) -> Result<Descriptor> {
        let digest = &layer.blob.digest;
        let line = self.lines.of(digest);
        let mut form = match self.known_form(layer)? {
            Some(form) => form,
            None => self.compress(layer).await?,
        };
        let source = self.sources.get(digest);
        if upload::spare(self.session, &form, source, &**line).await? == Spared::Yes {
            return Ok(form);
        }
        if !self.adding.store().has_blob(&form.digest) {
            // Another version of this program may have compressed it otherwise.
            form = self.compress(layer).await?;
        }
        upload::send(self.session, self.adding.store(), &form, line).await?;
        Ok(form)
    }

    async fn send_config(&self) -> Result<()> {
        let config = &self.image.manifest.config;
        match upload::spare(self.session, config, None, &Silent).await? {
            Spared::Yes => Ok(()),
            Spared::No => {
                upload::send(self.session, self.adding.store(), config, &Silent::shared()).await
            }
        }
    }

    /// In which form a layer goes, if that is known without compressing it.
    fn known_form(&self, layer: &Layer) -> Result<Option<Descriptor>> {
        if self.compression == Compression::Plain || !compression::is_plain(layer) {
            return Ok(Some(layer.blob.clone()));
        }
        let media_type = compression::media_type_of(self.compression, self.image.manifest.kind())?;
        let known = self.adding.store().compressed_form(&layer.blob.digest)?;
        Ok(known.filter(|form| form.media_type == media_type))
    }

    async fn compress(&self, layer: &Layer) -> Result<Descriptor> {
        let line = self.lines.of(&layer.blob.digest).clone();
        line.step(Step::Compressing);
        let (adding, layer, compression) = (self.adding.clone(), layer.clone(), self.compression);
        let media_type = compression::media_type_of(compression, self.image.manifest.kind())?;
        beside(move || compression::compress(&adding, &layer, compression, media_type, &*line))
            .await
    }

    /// The manifest as it came, unless a layer goes in another form.
    fn manifest(&self, forms: &BTreeMap<Digest, Descriptor>) -> Result<Vec<u8>> {
        let stored = &self.image.manifest;
        let sent: Vec<Descriptor> =
            stored.layers.iter().map(|layer| forms[&layer.digest].clone()).collect();
        if sent == stored.layers {
            return Ok(self.adding.store().read_document(&self.image.manifest_digest)?);
        }
        let mut manifest = stored.clone();
        manifest.layers = sent;
        Ok(manifest.to_bytes())
    }
}
