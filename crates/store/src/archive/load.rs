//! From an archive to images.

use std::{collections::BTreeSet, io::Read, path::Path};

use stasis_oci::{
    Descriptor, Digest, Document, Index, MAX_DOCUMENT_BYTES, Manifest, ManifestKind, Platform,
    Reference, media_type,
};

use super::{DockerEntry, REF_NAME, WHOLE_NAME, collect::Collected};
use crate::{
    Adding, Blob, Image, ImageStore, compression,
    compression::Compression,
    error::{Context, Error, Result},
    layer::Progress,
    sweep::{Contents, Reach},
};

const MAX_IMAGES: usize = 1000;
const MAX_INDEX_DEPTH: usize = 4;

/// An image of an archive that is about to be added.
struct Found {
    manifest: Vec<u8>,
    names: Vec<Reference>,
}

impl ImageStore {
    /// Adds the images of an archive, a tar that may be compressed, with their names.
    ///
    /// # Errors
    /// [`Error::Enclosure`] or [`Error::Invalid`] if it is no archive of images; [`Error::Layer`] and
    /// [`Error::WrongDigest`] for contents that are refused. Then nothing was added.
    pub fn load(
        &self,
        input: &mut (dyn Read + Send),
        progress: &mut dyn Progress,
    ) -> Result<Vec<(Image, Vec<Reference>)>> {
        self.load_by(|adding, collected| collected.read_archive(adding, input), progress)
    }

    /// Adds the images of a directory that has the same contents as an archive.
    ///
    /// # Errors
    /// As [`ImageStore::load`].
    pub fn load_dir(
        &self,
        dir: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Vec<(Image, Vec<Reference>)>> {
        self.load_by(|adding, collected| collected.read_dir(adding, dir), progress)
    }

    fn load_by(
        &self,
        read: impl FnOnce(&Adding, &mut Collected) -> Result<()>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<(Image, Vec<Reference>)>> {
        let adding = self.begin()?;
        let mut collected = Collected::default();
        let loaded = read(&adding, &mut collected)
            .and_then(|()| find_images(self, &collected))
            .and_then(|found| add_all(&adding, found, progress));
        drop(adding);
        // What the archive had beside images, or all of it if it was refused, need not wait.
        let blobs = collected.fresh;
        let swept = self.sweep(Reach::These(Contents { blobs, layers: BTreeSet::new() }));
        loaded.and_then(|images| swept.map(|_| images))
    }
}

fn add_all(
    adding: &Adding,
    found: Vec<Found>,
    progress: &mut dyn Progress,
) -> Result<Vec<(Image, Vec<Reference>)>> {
    let add = |found: Found| {
        let image = adding.add_image(&found.manifest, &found.names, progress)?;
        Ok((image, found.names))
    };
    found.into_iter().map(add).collect()
}

fn find_images(store: &ImageStore, collected: &Collected) -> Result<Vec<Found>> {
    let docker = collected.list("manifest.json").map(docker_entries).transpose()?;
    if let Some(index) = collected.list("index.json") {
        let mut found = Vec::new();
        of_index(store, &Index::parse(index)?, &[], 0, &mut found)?;
        add_docker_names(&mut found, collected, docker.as_deref().unwrap_or_default())?;
        return Ok(found);
    }
    let Some(entries) = docker else {
        let reason = match collected.has_only_repositories() {
            true => "the archive was made by a Docker that is too old; save the image again",
            false => "this is no archive of images: it has neither manifest.json nor index.json",
        };
        return Err(Error::Invalid(reason.into()));
    };
    entries.iter().map(|entry| of_docker(store, collected, entry)).collect()
}

fn docker_entries(text: &[u8]) -> Result<Vec<DockerEntry>> {
    let entries: Vec<DockerEntry> = serde_json::from_slice(text)
        .map_err(|error| Error::Invalid(format!("manifest.json of the archive: {error}")))?;
    if entries.len() > MAX_IMAGES {
        return Err(Error::Invalid(format!("the archive has more than {MAX_IMAGES} images")));
    }
    Ok(entries)
}

// OCI layouts

/// The images of an index. An index inside of it is one image for several platforms, of which we take
/// ours, or the first one that is there.
fn of_index(
    store: &ImageStore,
    index: &Index,
    names: &[Reference],
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<()> {
    if depth > MAX_INDEX_DEPTH || found.len() > MAX_IMAGES {
        return Err(Error::Invalid("the archive has too many indexes or images".into()));
    }
    let all: Vec<&Descriptor> = match depth {
        0 => index.manifests.iter().collect(),
        _ => ours(store, index).into_iter().collect(),
    };
    for descriptor in all {
        let own = name_of(descriptor)?;
        let names = if own.is_empty() { names } else { &own };
        let bytes = store.read_document(&descriptor.digest)?;
        match Document::parse(&bytes)? {
            Document::Index(inner) => of_index(store, &inner, names, depth + 1, found)?,
            Document::Manifest(_) => add_found(found, bytes, names),
        }
    }
    Ok(())
}

fn ours<'a>(store: &ImageStore, index: &'a Index) -> Option<&'a Descriptor> {
    let is_here = |manifest: &&Descriptor| store.has_blob(&manifest.digest);
    let is_image = |manifest: &&Descriptor| {
        // BuildKit puts what it attests of an image beside it, for a platform that is none.
        manifest.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
    };
    let chosen = index.choose(&Platform::host()).filter(is_here);
    chosen.or_else(|| index.manifests.iter().filter(is_image).find(is_here))
}

/// The same manifest may be there once for each of its names.
fn add_found(found: &mut Vec<Found>, manifest: Vec<u8>, names: &[Reference]) {
    match found.iter_mut().find(|known| known.manifest == manifest) {
        Some(known) => known.names.extend_from_slice(names),
        None => found.push(Found { manifest, names: names.to_vec() }),
    }
}

/// A tag alone says nothing: it gets its repository from `manifest.json`, if there is one.
fn name_of(descriptor: &Descriptor) -> Result<Vec<Reference>> {
    let annotation = |key: &str| descriptor.annotations.get(key);
    if let Some(name) = annotation(WHOLE_NAME) {
        return Ok(vec![name.parse()?]);
    }
    match annotation(REF_NAME) {
        Some(name) if name.contains(['/', ':']) => Ok(vec![name.parse()?]),
        _ => Ok(Vec::new()),
    }
}

fn add_docker_names(
    found: &mut [Found],
    collected: &Collected,
    entries: &[DockerEntry],
) -> Result<()> {
    for entry in entries {
        let config = collected.blob(&entry.config)?.digest;
        for found in found.iter_mut() {
            if Manifest::parse(&found.manifest)?.config.digest == config {
                let more = tags(entry)?;
                found.names.extend(more.into_iter().filter(|name| name.tag().is_some()));
                found.names.sort();
                found.names.dedup();
            }
        }
    }
    Ok(())
}

// Docker's own format

fn of_docker(store: &ImageStore, collected: &Collected, entry: &DockerEntry) -> Result<Found> {
    let config = collected.blob(&entry.config)?;
    check_config_name(&entry.config, &config.digest)?;
    // Of something that is no configuration not even the size would be right.
    if config.size > MAX_DOCUMENT_BYTES as u64 {
        return Err(Error::Invalid(format!("{:?} of the archive is too large", entry.config)));
    }
    let layers = entry.layers.iter().flatten();
    let layers: Vec<Descriptor> =
        layers.map(|path| layer(store, &collected.blob(path)?)).collect::<Result<_>>()?;
    let config = Descriptor::new(media_type::OCI_CONFIG, config.digest, config.size);
    let manifest = Manifest::new(ManifestKind::Oci, config, layers).to_bytes();
    Ok(Found { manifest, names: tags(entry)? })
}

/// The name of a configuration is its digest; somebody who looks only at the name must not be misled.
fn check_config_name(path: &str, found: &Digest) -> Result<()> {
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    match Digest::from_hex(stem) {
        Ok(expected) if expected != *found => Err(Error::WrongDigest { expected, found: *found }),
        _ => Ok(()),
    }
}

fn layer(store: &ImageStore, blob: &Blob) -> Result<Descriptor> {
    let file = store.open_blob(&blob.digest)?;
    let (compression, _) = compression::decompressed(file).context("read", blob.digest)?;
    let media_type = match compression {
        Compression::None => media_type::OCI_LAYER,
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
    };
    Ok(Descriptor::new(media_type, blob.digest, blob.size))
}

fn tags(entry: &DockerEntry) -> Result<Vec<Reference>> {
    let tags = entry.repo_tags.iter().flatten();
    tags.map(|tag| Ok(tag.parse()?)).collect()
}
