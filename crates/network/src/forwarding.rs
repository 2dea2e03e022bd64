//! Switches of the kernel that routing between containers and the world needs (the kernel's
//! document "IP Sysctl").

use std::{fs, path::PathBuf};

use crate::{
    error::{Context, Result},
    lease::Family,
    note::Note,
};

/// Lets this host send packets on that are not for it; tells if it did not do so before.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel.
pub(crate) fn enable(family: Family) -> Result<Option<Note>> {
    let name = match family {
        Family::V4 => "net/ipv4/ip_forward",
        Family::V6 => "net/ipv6/conf/all/forwarding",
    };
    Ok(set(name, "1")?.then(|| Note::ForwardingEnabled { family, switch: name.into() }))
}

/// Lets packets between loopback addresses and the containers behind a bridge be routed at all.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel.
pub(crate) fn route_loopback(bridge: &str) -> Result<()> {
    set(&format!("net/ipv4/conf/{bridge}/route_localnet"), "1").map(drop)
}

/// Ports below 1024 are free for every program of a container, as its network is its own (and as
/// Docker does it). For the network namespace of the calling thread.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel.
pub(crate) fn free_low_ports() -> Result<()> {
    set("net/ipv4/ip_unprivileged_port_start", "0").map(drop)
}

/// Writes a switch unless it stands so already; tells whether it was changed.
fn set(name: &str, value: &str) -> Result<bool> {
    let path = PathBuf::from("/proc/sys").join(name);
    let now = fs::read_to_string(&path).context("read", path.display())?;
    if now.trim() == value {
        return Ok(false);
    }
    fs::write(&path, value).context("write", path.display())?;
    Ok(true)
}
