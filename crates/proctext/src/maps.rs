//! `/proc/PID/smaps` and `/proc/PID/maps`, proc_pid_smaps(5), proc_pid_maps(5).

use std::ops::Range;

use crate::{Result, lines, malformed, number, unescape};

/// One mapping as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub range: Range<u64>,
    /// `PROT_*` bits.
    pub protection: u32,
    pub shared: bool,
    /// Bytes.
    pub offset: u64,
    /// Major and minor number.
    pub device: (u32, u32),
    pub inode: u64,
    /// Path, `[stack]` and the like, or empty.
    pub name: Vec<u8>,
    /// The file has no name any more (` (deleted)` is taken off the name).
    pub deleted: bool,
    /// Two-letter codes of `VmFlags`; empty when read from `maps`.
    pub flags: Vec<[u8; 2]>,
    /// Bytes of a page of this mapping (`KernelPageSize`), if told.
    pub page_size: Option<u64>,
    /// Number of its protection key (pkeys(7)); 0 where there are none.
    pub protection_key: u8,
}

impl Mapping {
    pub fn has_flag(&self, code: &[u8; 2]) -> bool {
        self.flags.contains(code)
    }
}

/// Parses either file.
pub fn parse(text: &[u8]) -> Result<Vec<Mapping>> {
    let mut mappings = Vec::new();
    add(&mut mappings, text)?;
    Ok(mappings)
}

/// Parses a further piece of either file, which ends with a whole line.
pub fn add(mappings: &mut Vec<Mapping>, piece: &[u8]) -> Result<()> {
    for line in lines(piece) {
        // Addresses have small letters, and the fields of a mapping great ones.
        if line[0].is_ascii_uppercase() {
            let Some(mapping) = mappings.last_mut() else { return Err(malformed("maps", line)) };
            field(mapping, line)?;
        } else {
            mappings.push(header(line)?);
        }
    }
    Ok(())
}

/// Most of the two dozen fields of a mapping are passed over.
fn field(mapping: &mut Mapping, line: &[u8]) -> Result<()> {
    if let Some(value) = line.strip_prefix(b"VmFlags:") {
        const USUAL: usize = 12;
        mapping.flags = Vec::with_capacity(USUAL);
        let codes = value.split(|byte| *byte == b' ');
        mapping.flags.extend(codes.filter_map(|code| <[u8; 2]>::try_from(code).ok()));
    } else if let Some(value) = line.strip_prefix(b"KernelPageSize:") {
        let value = value.trim_ascii();
        let kib = value.strip_suffix(b" kB").unwrap_or(value);
        mapping.page_size = Some(number("smaps", kib, 10)?.saturating_mul(1024));
    } else if let Some(value) = line.strip_prefix(b"ProtectionKey:") {
        let key = number("smaps", value, 10)?;
        mapping.protection_key = u8::try_from(key).map_err(|_| malformed("smaps", value))?;
    }
    Ok(())
}

fn header(line: &[u8]) -> Result<Mapping> {
    let bad = || malformed("maps", line);
    let mut rest = line;
    let mut next = || {
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let word = &rest[..end];
        rest = rest[end..].strip_prefix(b" ").unwrap_or_default();
        word
    };
    let range = pair(next(), b'-').ok_or_else(bad)?;
    let permissions = next();
    let offset = number("maps", next(), 16)?;
    let device = pair(next(), b':').ok_or_else(bad)?;
    let inode = number("maps", next(), 10)?;
    let name = unescape(rest.trim_ascii_start());
    let [read, write, execute, sharing] = permissions else { return Err(bad()) };
    let (name, deleted) = match name.strip_suffix(b" (deleted)") {
        Some(plain) => (plain.to_vec(), true),
        None => (name, false),
    };
    Ok(Mapping {
        range: range.0..range.1,
        protection: u32::from(*read == b'r')
            | u32::from(*write == b'w') << 1
            | u32::from(*execute == b'x') << 2,
        shared: *sharing == b's',
        offset,
        device: (
            u32::try_from(device.0).map_err(|_| bad())?,
            u32::try_from(device.1).map_err(|_| bad())?,
        ),
        inode,
        name,
        deleted,
        flags: Vec::new(),
        page_size: None,
        protection_key: 0,
    })
}

fn pair(text: &[u8], separator: u8) -> Option<(u64, u64)> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((number("maps", &text[..at], 16).ok()?, number("maps", &text[at + 1..], 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn smaps_of_linux_6_18() {
        let text = b"7f00-7f0000 r-xp 00001000 fe:00 42    /usr/lib/a\\012b (deleted)\nSize:   4 kB\nKernelPageSize:        4 kB\nProtectionKey:         3\nVmFlags: rd ex mr mw me sd \n7ffd0000-7fff0000 rw-s 00000000 00:00 0 [stack]\n";
        let mappings = parse(text).unwrap();
        assert_eq!(mappings.len(), 2);
        assert_eq!(mappings[0].name, b"/usr/lib/a\nb");
        assert!(mappings[0].deleted && mappings[0].has_flag(b"sd") && !mappings[0].shared);
        assert_eq!((mappings[0].protection, mappings[0].device), (5, (0xfe, 0)));
        assert_eq!((mappings[0].page_size, mappings[0].protection_key), (Some(4096), 3));
        assert!(mappings[1].shared && mappings[1].name == b"[stack]");
    }

    #[test]
    fn pieces_make_a_whole() {
        let text =
            b"1000-2000 r-xp 0 0:0 0 /a\nVmFlags: rd ex\n2000-3000 rw-p 0 0:0 0\nVmFlags: wr\n";
        let (whole, mut pieces) = (parse(text).unwrap(), Vec::new());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            super::add(&mut pieces, line).unwrap();
        }
        assert_eq!(pieces, whole);
        assert!(whole[0].has_flag(b"ex") && whole[1].has_flag(b"wr"));
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [&b"x"[..], b"7f-8 rwx 0 0:0 0", b"Size: 4 kB", b"7f00-7f0000 r-xp zz 0:0 0"] {
            assert!(parse(text).is_err());
        }
    }
}
