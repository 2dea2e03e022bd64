//! Looking at everything, to tell what is wrong.

use std::{collections::BTreeMap, fs::File};

use stasis_oci::{ChainId, Digest, ImageConfig, Manifest};

use crate::{
    ImageStore, blob,
    error::{Error, Result},
    image,
    layer_record::{FS, LayerRecord},
};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, by a name that people know.
    pub object: String,
    pub reason: String,
}

impl ImageStore {
    /// Reads every record and every content, and computes all digests again. Contents that nobody
    /// refers to are no fault: a download may go on with them, and they are swept in time.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Damaged`] if the references cannot be read, without which nothing
    /// is known.
    pub fn check(&self) -> Result<Vec<Fault>> {
        // So that nothing goes while it is looked at.
        let _hold = match self.layout.exists() {
            true => self.hold()?,
            false => return Ok(Vec::new()),
        };
        let references = self.references()?;
        let mut check = Check { store: self, faults: Vec::new(), contents: BTreeMap::new() };
        for (name, manifest) in &references.names {
            if !references.images.contains_key(manifest) {
                check.fault(name.familiar(), format!("it names {manifest}, which is no image"));
            }
        }
        for (manifest, entry) in &references.images {
            check.image(manifest, &entry.config);
        }
        for (name, stack) in &references.kept {
            stack.iter().for_each(|layer| check.content(name, &layer.blob.digest));
        }
        check.other_contents();
        check.layers()?;
        Ok(check.faults)
    }
}

struct Check<'a> {
    store: &'a ImageStore,
    faults: Vec<Fault>,
    /// What was looked at: is it what its name says?
    contents: BTreeMap<Digest, std::result::Result<(), String>>,
}

impl Check<'_> {
    fn fault(&mut self, object: impl Into<String>, reason: impl ToString) {
        self.faults.push(Fault { object: object.into(), reason: reason.to_string() });
    }

    fn image(&mut self, manifest: &Digest, id: &Digest) {
        let object = format!("image {}", id.short());
        if let Err(error) = self.parts(&object, manifest, id) {
            self.fault(object, error);
        }
    }

    fn parts(&mut self, object: &str, digest: &Digest, id: &Digest) -> Result<()> {
        let manifest = Manifest::parse(&self.store.read_document(digest)?)?;
        if manifest.config.digest != *id {
            self.fault(object, format!("its manifest {digest} has another configuration"));
        }
        let config = self.store.read_document(&manifest.config.digest)?;
        let config = ImageConfig::parse(&config)?;
        if manifest.layers.len() != config.rootfs.diff_ids.len() {
            self.fault(object, "manifest and configuration have different layers");
        }
        manifest.layers.iter().for_each(|layer| self.content(object, &layer.digest));
        let layers = image::layers(&manifest, &config);
        for (chain, layer) in ChainId::all(&config.rootfs.diff_ids).iter().zip(layers) {
            self.unpacked(object, chain, &layer.diff_id);
        }
        Ok(())
    }

    fn content(&mut self, object: &str, digest: &Digest) {
        let store = self.store;
        let known = self.contents.entry(*digest).or_insert_with(|| verify(store, digest));
        if let Err(reason) = known.clone() {
            self.fault(object, format!("content {digest}: {reason}"));
        }
    }

    /// A layer need not be unpacked, but if it is there it must be this one.
    fn unpacked(&mut self, object: &str, chain: &ChainId, diff_id: &Digest) {
        let dir = self.store.layout.layer(chain);
        if !dir.exists() {
            return;
        }
        match LayerRecord::read(&dir) {
            Ok(Some(record)) if record.diff_id == *diff_id => {}
            Ok(Some(_)) => self.fault(object, format!("the unpacked layer {chain} is another one")),
            // The end of an earlier boot has left no more of it: it is unpacked anew when it is needed.
            Ok(None) => {}
            Err(error) => self.fault(object, error),
        }
    }

    /// Those that no image has: a download could take them for what their name says.
    fn other_contents(&mut self) {
        for entry in std::fs::read_dir(self.store.layout.blobs()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let shown = name.to_string_lossy().into_owned();
            match name.to_str().and_then(|hex| Digest::from_hex(hex).ok()) {
                Some(digest) if !self.contents.contains_key(&digest) => {
                    if let Err(reason) = verify(self.store, &digest) {
                        self.fault(format!("content {}", digest.short()), reason);
                    }
                }
                Some(_) => {}
                None => self.fault(format!("content {shown}"), "its name is no digest"),
            }
        }
    }

    fn layers(&mut self) -> Result<()> {
        for entry in std::fs::read_dir(self.store.layout.layers()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            let is_claimed =
                || LayerRecord::read(&path).ok().flatten().is_some_and(|known| known.is_trusted());
            if Digest::from_hex(&name).is_err() {
                self.fault(format!("layer {name}"), "its name is no digest");
            } else if !path.join(FS).is_dir() && is_claimed() {
                self.fault(format!("layer {name}"), "its files are missing");
            }
        }
        Ok(())
    }
}

fn verify(store: &ImageStore, digest: &Digest) -> std::result::Result<(), String> {
    let look = || -> Result<Digest> {
        let mut file: File = store.open_blob(digest)?;
        let (hasher, _) =
            crate::error::Context::context(blob::hash_all(&mut file), "read", digest)?;
        Ok(hasher.finish())
    };
    match look() {
        Ok(found) if found == *digest => Ok(()),
        Ok(found) => Err(Error::WrongDigest { expected: *digest, found }.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
