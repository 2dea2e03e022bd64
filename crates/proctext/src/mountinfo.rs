//! `/proc/PID/mountinfo`, proc_pid_mountinfo(5).

use crate::{Result, lines, malformed, signed, unescape};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    pub id: i32,
    pub parent: i32,
    /// Major and minor number of the superblock's device.
    pub device: (u32, u32),
    pub root: Vec<u8>,
    pub mountpoint: Vec<u8>,
    pub options: Vec<Vec<u8>>,
    pub shared: Option<u32>,
    pub master: Option<u32>,
    pub filesystem: Vec<u8>,
    pub source: Vec<u8>,
    pub superblock_options: Vec<Vec<u8>>,
}

/// Parses the file.
pub fn parse(text: &[u8]) -> Result<Vec<Mount>> {
    lines(text).map(line).collect()
}

fn line(line: &[u8]) -> Result<Mount> {
    let bad = || malformed("mountinfo", line);
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = words.iter().position(|word| *word == b"-").ok_or_else(bad)?;
    let ([id, parent, device, root, mountpoint, options], rest) =
        words.split_first_chunk::<6>().ok_or_else(bad)?;
    let tags = rest.get(..dash.checked_sub(6).ok_or_else(bad)?).ok_or_else(bad)?;
    let [filesystem, source, superblock_options] =
        words.get(dash + 1..).and_then(|tail| tail.first_chunk::<3>()).ok_or_else(bad)?;
    let int = |text: &[u8]| {
        signed("mountinfo", text).and_then(|value| i32::try_from(value).map_err(|_| bad()))
    };
    let tag = |key: &[u8]| {
        tags.iter().find_map(|tag| std::str::from_utf8(tag.strip_prefix(key)?).ok()?.parse().ok())
    };
    Ok(Mount {
        id: int(id)?,
        parent: int(parent)?,
        device: numbers(device).ok_or_else(bad)?,
        root: unescape(root),
        mountpoint: unescape(mountpoint),
        options: split(options),
        shared: tag(b"shared:"),
        master: tag(b"master:"),
        filesystem: filesystem.to_vec(),
        source: unescape(source),
        superblock_options: split(superblock_options),
    })
}

fn numbers(text: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn split(options: &[u8]) -> Vec<Vec<u8>> {
    options.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn tags_and_escapes() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime shared:7 master:1 - ext3 /dev/root rw,errors=continue\n31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n";
        let mounts = super::parse(text).unwrap();
        assert_eq!(mounts[0].mountpoint, b"/mnt 2");
        assert_eq!((mounts[0].shared, mounts[0].master), (Some(7), Some(1)));
        assert_eq!((mounts[1].device, mounts[1].shared), ((0, 28), None));
        assert!(super::parse(b"36 35 98:0 / / rw - ext3").is_err());
        assert!(super::parse(b"36 35 - a b c").is_err());
    }
}
