//! The configuration of an image: OCI image-spec, "Image Configuration", with Docker's additions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    MAX_LAYERS, check_size,
    digest::Digest,
    error::{Error, Result},
    platform::Platform,
};

const CONFIG: &str = "configuration";
const MAX_HISTORY: usize = 10_000;

/// The whole document. Its digest is the image's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    pub os: String,
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    #[serde(default, deserialize_with = "crate::null_is_empty")]
    pub config: RunConfig,
    pub rootfs: RootFs,
    #[serde(default, deserialize_with = "crate::null_is_empty")]
    pub history: Vec<History>,
    /// Fields that we do not know, as they came.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// What a container of the image starts with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    #[serde(deserialize_with = "crate::null_is_empty", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Keys such as `80/tcp`; the values hold nothing.
    #[serde(deserialize_with = "crate::null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "crate::null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Keys are paths in the container; the values hold nothing.
    #[serde(deserialize_with = "crate::null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Value>,
    #[serde(deserialize_with = "crate::null_is_empty", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "crate::null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "crate::null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Fields that we do not know, as they came.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// How Docker looks whether a container is well. Durations are in nanoseconds, 0 is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// Empty, `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`.
    #[serde(deserialize_with = "crate::null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The layers by the digests of their tars without compression, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    r#type: String,
    #[serde(deserialize_with = "crate::null_is_empty")]
    pub diff_ids: Vec<Digest>,
}

impl RootFs {
    pub fn new(diff_ids: Vec<Digest>) -> RootFs {
        RootFs { r#type: "layers".into(), diff_ids }
    }
}

impl Default for RootFs {
    fn default() -> RootFs {
        RootFs::new(Vec::new())
    }
}

/// How one layer came about, or one step that made none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    #[serde(
        default,
        deserialize_with = "crate::null_is_empty",
        skip_serializing_if = "String::is_empty"
    )]
    pub created_by: String,
    #[serde(
        default,
        deserialize_with = "crate::null_is_empty",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    #[serde(
        default,
        deserialize_with = "crate::null_is_empty",
        skip_serializing_if = "String::is_empty"
    )]
    pub comment: String,
    #[serde(
        default,
        deserialize_with = "crate::null_is_empty",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// An image of the host's platform without layers.
    pub fn scratch() -> ImageConfig {
        let host = Platform::host();
        ImageConfig { os: host.os, architecture: host.architecture, ..ImageConfig::default() }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Error::Document`] if it is too large, garbled, or not that of an image.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig> {
        check_size(CONFIG, bytes)?;
        let config: ImageConfig =
            serde_json::from_slice(bytes).map_err(|error| Error::document(CONFIG, error))?;
        let nr_layers = config.rootfs.diff_ids.len();
        if config.rootfs.r#type != "layers" {
            let reason = format!("its root file system is of type {:?}", config.rootfs.r#type);
            return Err(Error::document(CONFIG, reason));
        }
        if nr_layers > MAX_LAYERS {
            let reason = format!("it has {nr_layers} layers, {MAX_LAYERS} can be stacked");
            return Err(Error::document(CONFIG, reason));
        }
        if config.history.len() > MAX_HISTORY {
            return Err(Error::document(CONFIG, "its history is too long"));
        }
        Ok(config)
    }

    /// The bytes of a configuration that we made. One that came from elsewhere has its own.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and maps with text keys are always JSON")
    }

    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone().filter(|variant| !variant.is_empty()),
            os_version: self.os_version.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERS: &str = r#"{
        "architecture":"amd64","os":"linux","created":"2024-09-26T21:31:42Z","container":"abc",
        "config":{"Hostname":"","User":"","Env":["PATH=/bin"],"Cmd":["sh"],"Image":"sha256:x",
            "Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null,
            "ExposedPorts":{"80/tcp":{}},
            "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000000000}},
        "history":[{"created":"2024-09-26T21:31:42Z","created_by":"ADD","empty_layer":true}],
        "rootfs":{"type":"layers","diff_ids":[
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"]}}"#;

    #[test]
    fn dockers_nulls_and_additions_are_understood() {
        let image = ImageConfig::parse(DOCKERS.as_bytes()).unwrap();
        assert_eq!(image.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(image.config.entrypoint, None);
        assert!(
            image.config.volumes.is_empty() && image.config.exposed_ports.contains_key("80/tcp")
        );
        assert_eq!(image.config.healthcheck.as_ref().unwrap().interval, 1_000_000_000);
        assert!(image.history[0].empty_layer);
        assert_eq!(image.platform(), Platform::host());
        assert_eq!(
            (image.other["container"].as_str(), image.config.other["Image"].as_str()),
            (Some("abc"), Some("sha256:x"))
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let image = ImageConfig::parse(DOCKERS.as_bytes()).unwrap();
        assert_eq!(ImageConfig::parse(&image.to_bytes()).unwrap(), image);
        let scratch = ImageConfig::scratch();
        assert_eq!(ImageConfig::parse(&scratch.to_bytes()).unwrap(), scratch);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for text in
            ["{}", "", r#"{"architecture":"a","os":"linux","rootfs":{"type":"x","diff_ids":[]}}"#]
        {
            assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(ImageConfig::parse(&vec![b' '; crate::MAX_DOCUMENT_BYTES + 1]).is_err());
    }
}
