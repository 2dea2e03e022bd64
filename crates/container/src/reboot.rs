//! All containers over a reboot: frozen before it, brought back after it.
//!
//! `save` freezes what runs, whoever needs others first, and notes in each container's record that it
//! did. Root file systems and volumes stay where they are, since they outlive the reboot and nobody
//! changes them meanwhile; only what lies in memory goes into the checkpoint. `resume` follows the
//! notes, the needed first. A container that ran meanwhile has no note any more.

mod order;
mod resume;
mod save;

use self::order::Node;
use crate::{
    config::{Config, Network},
    store::Container,
};

pub use resume::{Came, Kept, Resumed};
pub use save::{Disks, SavedAs, WasSaved};

/// The checkpoint that `save` makes of each container.
const CHECKPOINT: &str = "system-save";

/// A container needs those whose network it shares and those that it has mounts from.
fn node(container: &Container) -> Node<'_> {
    let Config { id, network, volumes_from, .. } = &container.config;
    let mut needs: Vec<&str> = volumes_from.iter().map(String::as_str).collect();
    if let Network::Container(id) = network {
        needs.push(id);
    }
    Node { id, needs }
}
