//! Whose copies are: `--chown` and `--chmod`.

use std::{io::Read, os::fd::OwnedFd, path::Path};

use rustix::fs::OFlags;
use stasis_container::inside;

use crate::error::{Error, Result};

const MAX_FILE_BYTES: u64 = 4 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Looks `USER[:GROUP]` up in the `/etc/passwd` and `/etc/group` of the image. A user by number alone
/// has the group of the same number, one by name its own.
///
/// # Errors
/// [`Error::Invalid`] for a name that is not there.
pub(crate) fn look_up(root: &OwnedFd, text: &str) -> Result<Owner> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let (uid, own_gid) = match user.parse() {
        Ok(uid) => (uid, uid),
        Err(_) => ids_of_user(&read(root, "/etc/passwd"), user)?,
    };
    let gid = match group.map(|group| (group, group.parse())) {
        None => own_gid,
        Some((_, Ok(gid))) => gid,
        Some((name, Err(_))) => id_of_group(&read(root, "/etc/group"), name)?,
    };
    Ok(Owner { uid, gid })
}

/// The mode that octal digits say.
///
/// # Errors
/// [`Error::Invalid`] for anything else.
pub(crate) fn mode(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a mode for --chmod"))
            .hint("expected octal digits such as 755")
    })
}

/// A file that is not there has no entries.
fn read(root: &OwnedFd, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let Ok(file) = inside::open(root, Path::new(path), flags) else { return String::new() };
    let mut bytes = Vec::new();
    let _ = std::fs::File::from(file).take(MAX_FILE_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn fields_of<'a>(table: &'a str, name: &str) -> Option<Vec<&'a str>> {
    table.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)
}

fn ids_of_user(passwd: &str, name: &str) -> Result<(u32, u32)> {
    let ids = fields_of(passwd, name)
        .and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)));
    ids.ok_or_else(|| {
        Error::invalid(format!("unable to find user {name}: no such entry in /etc/passwd"))
    })
}

fn id_of_group(group: &str, name: &str) -> Result<u32> {
    let id = fields_of(group, name).and_then(|fields| fields.get(2)?.parse().ok());
    id.ok_or_else(|| {
        Error::invalid(format!("unable to find group {name}: no such entry in /etc/group"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_are_those_of_the_image() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), "ann:x:1000:1001::/:\nbad\n").unwrap();
        fs::write(dir.path().join("etc/group"), "wheel:x:10:ann\n").unwrap();
        let root = inside::open_root(dir.path()).unwrap();
        let check = |text: &str, uid, gid| {
            assert_eq!(look_up(&root, text).unwrap(), Owner { uid, gid }, "{text}");
        };
        check("ann", 1000, 1001);
        check("ann:wheel", 1000, 10);
        check("7", 7, 7);
        check("7:8", 7, 8);
        check("7:", 7, 7);
        for text in ["eve", "ann:none", "bad", ""] {
            assert!(look_up(&root, text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("0755").unwrap(), 0o755);
        for text in ["", "9", "u+x", "17777"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
