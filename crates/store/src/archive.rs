//! Images as archives: `docker save`'s and OCI layouts, as a tar or a directory.
//!
//! | written by | has |
//! |---|---|
//! | Docker before 25, Podman (`docker-archive`) | `manifest.json`, layers under any name, links among them |
//! | Podman, skopeo (`oci-archive`) | `oci-layout`, `index.json`, `blobs/sha256/HEX` |
//! | Docker since 25, and we | both: an OCI layout with a `manifest.json` that points into it |

mod collect;
mod import;
mod load;
mod save;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use import::Import;
pub use save::{Format, Saving};

/// Names an image in an index: what containerd and Docker read, a whole name.
const WHOLE_NAME: &str = "io.containerd.image.name";
/// The same for Podman and skopeo, who write a whole name too, or only a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// An entry of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    #[serde(flatten)]
    other: BTreeMap<String, serde_json::Value>,
}
