//! What a user should know although nothing failed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lease::Family;

/// Something that happened beside what was asked for, or will get in its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A switch of the kernel was turned, for the whole host.
    ForwardingEnabled { family: Family, switch: String },
    /// None of the container's networks leads outside, so its ports are not published.
    NotPublished { container: String },
    /// Others' tables drop what containers send to other hosts, and what these send to them.
    ForwardedIsDropped { tables: Vec<String> },
    /// The container looks up no names: all name servers of the host are on its loopback device.
    NoNameServer { container: String },
}

impl Note {
    /// Will something not work?
    pub fn is_warning(&self) -> bool {
        !matches!(self, Note::ForwardingEnabled { family: Family::V4, .. })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::ForwardingEnabled { family: Family::V4, switch } => {
                write!(f, "switched on {switch}: containers need it to reach other hosts")
            }
            Note::ForwardingEnabled { family: Family::V6, switch } => write!(
                f,
                "switched on {switch}: containers need it to reach other hosts; this host takes no \
                 routes from advertisements any more, except where accept_ra is 2"
            ),
            Note::NotPublished { container } => {
                write!(f, "no port of {container} is published: its networks do not lead outside")
            }
            Note::ForwardedIsDropped { tables } => write!(
                f,
                "packets between containers and other hosts may be dropped: table {} has the policy \
                 drop for what is forwarded; let it accept the devices stasis*",
                tables.join(", ")
            ),
            Note::NoNameServer { container } => {
                write!(f, "container {container} has no name server: give one with --dns")
            }
        }
    }
}
