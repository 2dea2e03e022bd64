//! From images to an archive.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use stasis_enclosure::tar::Writer;
use stasis_oci::{Descriptor, Digest, Index, Reference};

use super::{DockerEntry, OCI_LAYOUT, REF_NAME, WHOLE_NAME};
use crate::{
    Image, ImageStore,
    error::{Context, Error, Result},
};

const BUFFER_BYTES: usize = 1 << 20;

/// What an archive shall be readable as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As Docker since version 25: an OCI layout that has a `manifest.json` for older tools.
    Docker,
    /// An OCI layout alone.
    Oci,
}

/// An image to be saved, and the names it shall have in the archive.
#[derive(Clone, Debug)]
pub struct Saving {
    pub image: Image,
    pub names: Vec<Reference>,
}

impl ImageStore {
    /// Writes images as a tar; contents that they share are written once. The same images give the
    /// same bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] if the store is damaged; [`Error::Refused`] or [`Error::Enclosure`] by
    /// the stream.
    pub fn save(&self, images: &[Saving], format: Format, out: &mut dyn Write) -> Result<()> {
        let _hold = self.hold()?;
        let mut tar = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, out));
        tar.directory("blobs")?;
        tar.directory("blobs/sha256")?;
        for digest in contents(images) {
            let (mut blob, len_bytes) = self.open_sized(&digest)?;
            tar.file(&blob_path(&digest), len_bytes, &mut blob)?;
        }
        for (name, text) in self.lists(images, format)? {
            tar.file(name, text.len() as u64, &mut text.as_slice())?;
        }
        tar.finish()?;
        Ok(())
    }

    /// Writes images as a directory, which must not be there or be empty.
    ///
    /// # Errors
    /// As [`ImageStore::save`]; [`Error::Invalid`] if the directory has something in it.
    pub fn save_dir(&self, images: &[Saving], format: Format, dir: &Path) -> Result<()> {
        let _hold = self.hold()?;
        let is_taken = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        if is_taken {
            let reason = format!("the directory {} is not empty", dir.display());
            return Err(Error::Invalid(reason));
        }
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).context("make directory", blobs.display())?;
        for digest in contents(images) {
            let (mut blob, _) = self.open_sized(&digest)?;
            write_file(dir.join(blob_path(&digest)), &mut blob)?;
        }
        // The index comes last: without it this is no layout.
        for (name, text) in self.lists(images, format)? {
            write_file(dir.join(name), &mut text.as_slice())?;
        }
        Ok(())
    }

    fn open_sized(&self, digest: &Digest) -> Result<(File, u64)> {
        let blob = self.open_blob(digest)?;
        let len_bytes = blob.metadata().context("look at", digest)?.len();
        Ok((blob, len_bytes))
    }

    /// The lists at the top, `index.json` last.
    fn lists(&self, images: &[Saving], format: Format) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut lists = vec![("oci-layout", OCI_LAYOUT.to_vec())];
        if format == Format::Docker {
            let entries: Vec<DockerEntry> = images.iter().map(docker_entry).collect();
            let text = serde_json::to_vec(&entries);
            lists.push(("manifest.json", text.map_err(|error| Error::Invalid(error.to_string()))?));
        }
        let mut manifests = Vec::new();
        for saving in images {
            manifests.extend(self.descriptors(saving)?);
        }
        lists.push(("index.json", Index::new(manifests).to_bytes()));
        Ok(lists)
    }

    /// One for each name, or one without.
    fn descriptors(&self, saving: &Saving) -> Result<Vec<Descriptor>> {
        let (manifest, digest) = (&saving.image.manifest, saving.image.manifest_digest);
        let (_, len_bytes) = self.open_sized(&digest)?;
        let mut plain = Descriptor::new(manifest.media_type(), digest, len_bytes);
        plain.platform = Some(saving.image.config.platform());
        if saving.names.is_empty() {
            return Ok(vec![plain]);
        }
        let named = |name: &Reference| {
            let mut descriptor = plain.clone();
            let annotations = [WHOLE_NAME, REF_NAME].map(|key| (key.to_owned(), name.to_string()));
            descriptor.annotations.extend(annotations);
            descriptor
        };
        Ok(saving.names.iter().map(named).collect())
    }
}

fn write_file(path: PathBuf, content: &mut dyn Read) -> Result<()> {
    let mut file = File::create_new(&path).context("make", path.display())?;
    std::io::copy(content, &mut file).context("write", path.display()).map(drop)
}

fn contents(images: &[Saving]) -> BTreeSet<Digest> {
    let of_image = |saving: &Saving| {
        let image = &saving.image;
        let layers = image.manifest.layers.iter().map(|layer| layer.digest);
        layers.chain([image.id, image.manifest_digest]).collect::<Vec<_>>()
    };
    images.iter().flat_map(of_image).collect()
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn docker_entry(saving: &Saving) -> DockerEntry {
    let tags = saving.names.iter().filter(|name| name.tag().is_some());
    DockerEntry {
        config: blob_path(&saving.image.id),
        repo_tags: Some(tags.map(Reference::familiar).collect()),
        layers: Some(
            saving.image.manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
        ),
        other: BTreeMap::new(),
    }
}
