//! A stage between two steps.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_dockerfile::{Globals, Scope};
use stasis_oci::{Digest, History, ImageConfig, Platform};
use stasis_store::{Adding, Image, Layer, Silent};

use crate::{digesting::Digesting, error::Result, history};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub config: ImageConfig,
    /// The lowest first.
    pub layers: Vec<Layer>,
    /// How many of them it began with.
    pub nr_base_layers: usize,
    pub scope: Scope,
    /// Tells this state from all others: by it the next step is found in the cache.
    pub key: Digest,
    /// Where the command of the configuration comes from.
    pub command: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Inherited,
    Own,
}

/// What a step has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub created: Timestamp,
    /// Nothing if no file was changed.
    pub layer: Option<Layer>,
}

impl Stage {
    /// A stage without any file.
    pub fn scratch(globals: &Globals, platform: &Platform) -> Stage {
        let mut config = ImageConfig {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        };
        config.config.env.push(DEFAULT_PATH.to_owned());
        let key = Digesting::of("scratch").field(platform.to_string().as_bytes()).finish();
        Stage::on(config, Vec::new(), key, globals)
    }

    /// A stage that stands on an image.
    pub fn of_image(image: &Image, globals: &Globals) -> Stage {
        let mut config = image.config.clone();
        // They were written for us, and are followed now.
        config.config.on_build.clear();
        if !config.config.env.iter().any(|entry| entry.starts_with("PATH=")) {
            config.config.env.push(DEFAULT_PATH.to_owned());
        }
        let key = Digesting::of("image").field(image.id.to_string().as_bytes()).finish();
        Stage::on(config, image.layers(), key, globals)
    }

    /// A stage that stands on another one; arguments of that one are not seen in it.
    pub fn of_stage(below: &Stage, globals: &Globals) -> Stage {
        Stage::on(below.config.clone(), below.layers.clone(), below.key, globals)
    }

    fn on(config: ImageConfig, layers: Vec<Layer>, key: Digest, globals: &Globals) -> Stage {
        let scope = globals.stage(environment(&config.config.env));
        let nr_base_layers = layers.len();
        Stage { config, nr_base_layers, layers, scope, key, command: Standing::Inherited }
    }

    /// The key of the state behind a step.
    pub fn key_after(&self, step: Digesting) -> Digest {
        Digesting::of("step")
            .field(self.key.to_string().as_bytes())
            .field(step.finish().to_string().as_bytes())
            .finish()
    }

    /// Takes up what a step has done.
    pub fn push(&mut self, key: Digest, created_by: String, done: Done) {
        self.key = key;
        self.config.created = Some(done.created);
        self.config.history.push(History {
            created: Some(done.created),
            created_by,
            comment: history::COMMENT.to_owned(),
            empty_layer: done.layer.is_none(),
            ..History::default()
        });
        if let Some(layer) = done.layer {
            self.config.rootfs.diff_ids.push(layer.diff_id);
            self.layers.push(layer);
        }
    }

    /// The directory in which commands run and which relative paths start from.
    pub fn workdir(&self) -> PathBuf {
        let dir = &self.config.config.working_dir;
        PathBuf::from(if dir.is_empty() { "/" } else { dir })
    }

    /// The layers as directories, the topmost first.
    ///
    /// # Errors
    /// As unpacking fails.
    pub fn lower_dirs(&self, adding: &Adding) -> Result<Vec<PathBuf>> {
        Ok(adding.store().lower_dirs_of(&self.layers, &mut Silent)?)
    }
}

/// An environment as pairs.
fn environment(env: &[String]) -> Vec<(String, String)> {
    env.iter()
        .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
