//! What of a host a checkpoint depends on.

use serde::{Deserialize, Serialize};
use stasis_enclosure::cgroup::Layout;

/// The host on which a checkpoint was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
    /// As `uname -m` prints it.
    pub architecture: String,
    pub page_bytes: u64,
    pub cgroups: Cgroups,
}

/// The version of control groups whose controllers limit containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cgroups {
    V1,
    V2,
}

impl Host {
    /// This one.
    pub fn probe() -> Host {
        let name = rustix::system::uname();
        Host {
            kernel: name.release().to_string_lossy().into_owned(),
            architecture: name.machine().to_string_lossy().into_owned(),
            page_bytes: rustix::param::page_size() as u64,
            cgroups: match Layout::probe() {
                Layout::Legacy | Layout::Hybrid => Cgroups::V1,
                Layout::Unified => Cgroups::V2,
            },
        }
    }
}

impl Cgroups {
    /// Podman's word.
    pub fn word(self) -> &'static str {
        match self {
            Cgroups::V1 => "v1",
            Cgroups::V2 => "v2",
        }
    }
}
