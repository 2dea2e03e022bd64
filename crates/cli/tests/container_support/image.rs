//! Images of a static busybox, made by the test itself.

use std::{fs, path::Path, process::Command};

use stasis_oci::{
    Descriptor, Digest, ImageConfig, Manifest, ManifestKind, Reference, RootFs, RunConfig,
    media_type,
};
use stasis_store::{Adding, Image, ImageStore, Silent};

use super::Engine;

impl Engine {
    pub fn images(&self) -> ImageStore {
        ImageStore::new(&self.root())
    }

    /// An image of one layer, with busybox.
    pub fn make_image(&self, name: &str, config: RunConfig) -> Image {
        self.make_image_of(name, &[&self.busybox()], config)
    }

    /// An image with a layer of each directory, the lowest first.
    pub fn make_image_of(&self, name: &str, layers: &[&Path], config: RunConfig) -> Image {
        let adding = self.images().begin().unwrap();
        let tars: Vec<Vec<u8>> = layers.iter().map(|dir| tar(dir)).collect();
        let blobs = tars.iter().map(|tar| add(&adding, media_type::OCI_LAYER, tar)).collect();
        let diff_ids = tars.iter().map(|tar| Digest::of(tar)).collect();
        let config =
            ImageConfig { rootfs: RootFs::new(diff_ids), config, ..ImageConfig::scratch() };
        let config = add(&adding, media_type::OCI_CONFIG, &config.to_bytes());
        let manifest = Manifest::new(ManifestKind::Oci, config, blobs);
        let name: Reference = name.parse().unwrap();
        adding.add_image(&manifest.to_bytes(), &[name], &mut Silent).unwrap()
    }
}

fn add(adding: &Adding, media_type: &str, bytes: &[u8]) -> Descriptor {
    adding.add_bytes(bytes).unwrap();
    Descriptor::of(media_type, bytes)
}

fn tar(dir: &Path) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--numeric-owner", "--xattrs", "-C"]).arg(dir);
    assert!(command.arg("-cf").arg(file.path()).arg(".").status().unwrap().success());
    fs::read(file.path()).unwrap()
}
