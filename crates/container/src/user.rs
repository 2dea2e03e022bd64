//! Who runs in a container: `USER[:GROUP]` looked up in the container's own `/etc/passwd`.

use std::{fs::File, io::Read, path::Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use stasis_sys::openat2;

use crate::error::{Context, Error, Result};

const MAX_FILE_BYTES: u64 = 4 << 20;

/// A user with numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub uid: u32,
    pub gid: u32,
    pub additional: Vec<u32>,
    pub home: String,
}

/// Looks `spec` up in the root file system at `rootfs`; empty is root.
///
/// # Errors
/// [`Error::Invalid`] for a name that is not there.
pub(crate) fn look_up(rootfs: &Path, spec: &str) -> Result<User> {
    let passwd = read_inside(rootfs, "etc/passwd")?;
    let group = read_inside(rootfs, "etc/group")?;
    resolve(&passwd, &group, spec)
}

/// Symbolic links in the container must not lead out of it.
fn read_inside(rootfs: &Path, path: &str) -> Result<String> {
    let root = File::open(rootfs).context("open", rootfs.display())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(file) = openat2::open(&root, path.as_ref(), flags, Mode::empty(), ResolveFlags::IN_ROOT)
    else {
        return Ok(String::new());
    };
    let mut bytes = Vec::new();
    File::from(file).take(MAX_FILE_BYTES).read_to_end(&mut bytes).context("read", path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn resolve(passwd: &str, group: &str, spec: &str) -> Result<User> {
    let (user, group_name) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let line = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        fields.len() >= 6
            && (fields[0] == user || (number.is_some() && fields[2].parse().ok() == number))
    });
    let uid = line.as_ref().and_then(|fields| fields[2].parse().ok()).or(number);
    let uid = uid.ok_or_else(|| {
        Error::invalid(format!("unable to find user {user}: no such entry in /etc/passwd"))
    })?;
    let primary = line.as_ref().and_then(|fields| fields[3].parse().ok()).unwrap_or(0);
    let name = line.as_ref().map_or("", |fields| fields[0]);
    let (gid, additional) = match group_name.filter(|name| !name.is_empty()) {
        Some(name) => (group_id(group, name)?, Vec::new()),
        None => (primary, memberships(group, name)),
    };
    let home = line.as_ref().map_or("/", |fields| fields[5]);
    let home = if home.is_empty() { "/" } else { home };
    Ok(User { uid, gid, additional, home: home.to_owned() })
}

fn group_id(group: &str, name: &str) -> Result<u32> {
    group
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 3 && fields[0] == name)
        .and_then(|fields| fields[2].parse().ok())
        .or_else(|| name.parse().ok())
        .ok_or_else(|| {
            Error::invalid(format!("unable to find group {name}: no such entry in /etc/group"))
        })
}

fn memberships(group: &str, user: &str) -> Vec<u32> {
    group
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(|fields| {
            fields.len() >= 4 && fields[3].split(',').any(|m| !m.is_empty() && m == user)
        })
        .filter_map(|fields| fields[2].parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:,,,:/home/ann:/bin/sh\nbad\n";
    const GROUP: &str = "root:x:0:\nann:x:1001:\nwheel:x:10:bob,ann\n";

    fn check(spec: &str, uid: u32, gid: u32, additional: &[u32], home: &str) {
        let user = resolve(PASSWD, GROUP, spec).unwrap();
        let expect = User { uid, gid, additional: additional.to_vec(), home: home.to_owned() };
        assert_eq!(user, expect, "{spec}");
    }

    #[test]
    fn users_by_name_and_number() {
        check("", 0, 0, &[], "/root");
        check("ann", 1000, 1001, &[10], "/home/ann");
        check("1000", 1000, 1001, &[10], "/home/ann");
        check("ann:wheel", 1000, 10, &[], "/home/ann");
        check("4000:5000", 4000, 5000, &[], "/");
        check("4000", 4000, 0, &[], "/");
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(resolve(PASSWD, GROUP, "eve").is_err());
        assert!(resolve(PASSWD, GROUP, "ann:nobody").is_err());
    }
}
