//! `image inspect`: all about an image, under Docker's names.

use serde_json::{Value, json};
use stasis_container::Store;
use stasis_oci::Reference;
use stasis_store::{Image, ImageStore};

use crate::{args::ImageInspectArgs, command::objects, failure::Result};

pub fn run(store: &Store, args: &ImageInspectArgs) -> Result<i32> {
    let images = store.images();
    objects::print(&args.images, args.format.as_deref(), |key| {
        Ok(describe(&images, &images.find(key)?))
    })
}

/// Docker's object for an image.
pub fn describe(images: &ImageStore, image: &Image) -> Value {
    let config = &image.config;
    let names = |names: Vec<&Reference>| -> Vec<String> {
        names.into_iter().map(Reference::familiar).collect()
    };
    let comment = config.history.last().map_or("", |step| step.comment.as_str());
    json!({
        "Id": image.id,
        "RepoTags": names(image.tags().collect()),
        "RepoDigests": names(image.repo_digests().collect()),
        "Parent": "",
        "Comment": comment,
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author.as_deref().unwrap_or_default(),
        "Config": run_config(image),
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "GraphDriver": {
            "Name": "overlay2",
            "Data": { "LowerDir": lower_dirs(images, image) },
        },
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
        "Metadata": { "LastTagTime": image.added },
        "Descriptor": {
            "mediaType": image.manifest.media_type(),
            "digest": image.manifest_digest,
        },
    })
}

/// As the mount option has them.
fn lower_dirs(images: &ImageStore, image: &Image) -> String {
    let dirs = images.lower_dir_paths(image);
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":")
}

/// Templates ask for fields that are not set, too.
fn run_config(image: &Image) -> Value {
    let config = &image.config.config;
    let mut described = serde_json::to_value(config).unwrap_or_default();
    let always = json!({
        "User": config.user,
        "Env": config.env,
        "Cmd": config.cmd,
        "Entrypoint": config.entrypoint,
        "WorkingDir": config.working_dir,
        "Volumes": Some(&config.volumes).filter(|volumes| !volumes.is_empty()),
        "Labels": Some(&config.labels).filter(|labels| !labels.is_empty()),
        "OnBuild": Some(&config.on_build).filter(|triggers| !triggers.is_empty()),
        "ExposedPorts": Some(&config.exposed_ports).filter(|ports| !ports.is_empty()),
    });
    if let (Value::Object(described), Value::Object(always)) = (&mut described, always) {
        for (key, value) in always {
            described.entry(key).or_insert(value);
        }
    }
    described
}
