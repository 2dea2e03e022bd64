//! What a stream holds, without unpacking it: for comparisons.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    path::PathBuf,
};

use tar_core::EntryType;

use super::{
    member::{Member, garbled},
    source::{Ending, Source},
};
use crate::error::Result;

/// More than any container changes.
const MAX_MEMBERS: usize = 1 << 23;

/// All that is compared of a member; times are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    Member(Box<Essence>),
    /// It hides what is below.
    Whiteout,
}

/// A file, directory or other member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essence {
    kind: u8,
    mode: u32,
    owner: (u32, u32),
    device: (u32, u32),
    link: Option<PathBuf>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    holes: Option<Vec<(u64, u64)>>,
    content: [u8; 32],
}

/// The members of a stream of any form but layers, by their paths below its root.
///
/// # Errors
/// [`crate::Error::Archive`] if it is garbled or a name leads out of it.
pub fn describe(input: &mut dyn Read) -> Result<BTreeMap<PathBuf, Described>> {
    let mut source = Source::new(input, Ending::Marked);
    let mut found = BTreeMap::new();
    while let Some(member) = source.next_member()? {
        let path = member.inner_path()?;
        for name in &member.whiteouts {
            found.insert(path.join(name), Described::Whiteout);
        }
        let mut hasher = blake3::Hasher::new();
        source.copy(member.stored_bytes, &mut Sum(&mut hasher), &path)?;
        source.skip_padding(member.stored_bytes)?;
        found.insert(path, described(member, hasher.finalize().into()));
        if found.len() > MAX_MEMBERS {
            return Err(garbled(format!("it has more than {MAX_MEMBERS} members")));
        }
    }
    Ok(found)
}

fn described(member: Member, content: [u8; 32]) -> Described {
    let extents = |map: Vec<tar_core::SparseEntry>| {
        map.into_iter().map(|extent| (extent.offset, extent.length)).collect()
    };
    if member.kind == EntryType::Char && member.device == (0, 0) {
        return Described::Whiteout;
    }
    Described::Member(Box::new(Essence {
        kind: member.kind.to_byte(),
        mode: member.mode,
        owner: (member.uid, member.gid),
        device: member.device,
        link: member.link,
        xattrs: member.xattrs,
        holes: member.sparse.map(|(map, _)| extents(map)),
        content,
    }))
}

struct Sum<'a>(&'a mut blake3::Hasher);

impl Write for Sum<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;
    use crate::tar::{Form, pack};

    fn described(dir: &Path) -> BTreeMap<PathBuf, Described> {
        let mut archive = Vec::new();
        pack(dir, Form::Exact, &mut archive).unwrap();
        describe(&mut archive.as_slice()).unwrap()
    }

    #[test]
    fn contents_and_modes_count_and_times_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "one").unwrap();
        let before = described(dir.path());
        fs::write(&file, "one").unwrap();
        assert_eq!(described(dir.path()), before);
        fs::write(&file, "two").unwrap();
        assert_ne!(described(dir.path()), before);
        fs::write(&file, "one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let changed = described(dir.path());
        assert_ne!(changed[Path::new("f")], before[Path::new("f")]);
        assert!(describe(&mut &b"nonsense"[..]).is_err());
    }
}
