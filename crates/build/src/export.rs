//! From the last stage to an image.

use stasis_oci::{Descriptor, Manifest, ManifestKind, Reference, media_type};
use stasis_store::{Adding, Image, Silent};

use crate::{error::Result, squash::Stack, stage::Stage, workplace::Workplace};

/// Adds the image with its names.
///
/// # Errors
/// [`crate::Error::Store`] by the store.
pub(crate) fn image(stage: &Stage, adding: &Adding, names: &[Reference]) -> Result<Image> {
    let config = stage.config.to_bytes();
    let config = adding.add_bytes(&config)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, config.digest, config.size);
    let layers = stage.layers.iter().map(|layer| layer.blob.clone()).collect();
    let manifest = Manifest::new(ManifestKind::Oci, config, layers);
    Ok(adding.add_image(&manifest.to_bytes(), names, &mut Silent)?)
}

/// Makes one layer of all that the stage has added to its base.
///
/// # Errors
/// [`crate::Error::Refused`] by the file system.
pub(crate) fn squash(stage: &mut Stage, adding: &Adding, workplace: &Workplace) -> Result<()> {
    let nr_new = stage.layers.len() - stage.nr_base_layers;
    if nr_new < 2 {
        return Ok(());
    }
    let mut dirs = stage.lower_dirs(adding)?;
    let below = dirs.split_off(nr_new);
    let dir = workplace.make_dir("squashed")?;
    Stack { above: dirs, below }.squash(&dir)?;
    let layer = adding.commit_layer(&dir)?;
    stage.layers.truncate(stage.nr_base_layers);
    stage.config.rootfs.diff_ids.truncate(stage.nr_base_layers);
    let mut nr_kept = 0;
    for entry in &mut stage.config.history {
        nr_kept += usize::from(!entry.empty_layer);
        entry.empty_layer |= nr_kept > stage.nr_base_layers;
    }
    stage.config.history.push(stasis_oci::History {
        created: stage.config.created,
        comment: format!("merge of {nr_new} layers"),
        empty_layer: layer.is_empty(),
        ..stasis_oci::History::default()
    });
    if !layer.is_empty() {
        stage.config.rootfs.diff_ids.push(layer.diff_id);
        stage.layers.push(layer);
    }
    Ok(())
}
