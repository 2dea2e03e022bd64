//! The image of a container that moves. The target asks for the contents that it lacks, one by one: the
//! manifest first, which tells what else there is. What it has of other images does not travel.

use std::io::{self, BufWriter, Read};

use stasis_oci::{Digest, MAX_DOCUMENT_BYTES, Manifest, Reference};
use stasis_store::{Adding, Image, Silent};

use super::protocol::{Link, Message, Offer, garbled};
use crate::{
    error::{Context, Result},
    store::{Container, Store},
};

const COPY_BYTES: usize = 1 << 20;

impl Offer {
    pub fn of(image: &Image) -> Offer {
        let names = image.tags().map(ToString::to_string).collect();
        Offer { manifest: image.manifest_digest, names }
    }

    /// Those that parse and that no image bears here: none shall lose its name.
    fn free_names(&self, store: &Store) -> Vec<Reference> {
        let names = self.names.iter().filter(|name| store.images().find(name).is_err());
        names.filter_map(|name| name.parse().ok()).collect()
    }
}

impl Container {
    /// The image that it was made of; `None` for a directory.
    ///
    /// # Errors
    /// [`crate::Error::Images`] if it is not here.
    pub(super) fn image(&self) -> Result<Option<Image>> {
        let id = self.config.rootfs.image();
        Ok(id.map(|id| self.home.images().find_id(id)).transpose()?)
    }

    /// Sends a content that the other end asks for, if it is one of the image's.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if it is not, or what the other end says.
    pub(super) fn send_content(
        &self,
        image: Option<&Image>,
        wanted: &Digest,
        link: &mut Link<'_>,
    ) -> Result<()> {
        if !image.is_some_and(|image| has(image, wanted)) {
            return Err(garbled(format!("it asked for {wanted}, which is not of the image")));
        }
        let mut content = self.home.images().open_blob(wanted)?;
        link.send_archive(|out| {
            let mut out = BufWriter::with_capacity(COPY_BYTES, out);
            io::copy(&mut content, &mut out).context("send", wanted)?;
            io::Write::flush(&mut out).context("send", wanted)
        })
    }
}

fn has(image: &Image, digest: &Digest) -> bool {
    let contents = std::iter::once(&image.manifest.config).chain(&image.manifest.layers);
    image.manifest_digest == *digest || contents.into_iter().any(|one| one.digest == *digest)
}

impl Store {
    /// Brings an image here whose contents the other end has. It stays as long as the returned value, and
    /// then like any other.
    ///
    /// # Errors
    /// [`crate::Error::Images`] for contents that are not what they should be, or what the other end says.
    pub(super) fn take_image(&self, offer: &Offer, link: &mut Link<'_>) -> Result<Adding> {
        let adding = self.images().begin()?;
        take_content(&adding, &offer.manifest, MAX_DOCUMENT_BYTES as u64, link)?;
        let bytes = self.images().read_document(&offer.manifest)?;
        let manifest = Manifest::parse(&bytes).map_err(stasis_store::Error::from)?;
        for content in std::iter::once(&manifest.config).chain(&manifest.layers) {
            take_content(&adding, &content.digest, content.size, link)?;
        }
        adding.add_image(&bytes, &offer.free_names(self), &mut Silent)?;
        Ok(adding)
    }
}

/// Asks for a content, unless it is here already.
fn take_content(adding: &Adding, digest: &Digest, size: u64, link: &mut Link<'_>) -> Result<()> {
    if adding.store().has_blob(digest) {
        return Ok(());
    }
    link.send(&Message::Want(*digest))?;
    let mut blob = adding.new_blob()?;
    link.receive_archive(|input| {
        // One byte too many is another content.
        io::copy(&mut input.take(size.saturating_add(1)), &mut blob).context("receive", digest)
    })?;
    blob.finish(Some(digest))?;
    Ok(())
}
