//! Archives that are unpacked: tar, plain or compressed by gzip, bzip2, xz or zstd.

use std::{
    fs::File,
    io::{self, BufReader, Chain, Cursor, Read, Seek},
};

const BLOCK_BYTES: usize = 512;
/// Where a tar header keeps its checksum (POSIX.1-2001, "ustar Interchange Format").
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A tar from its beginning on.
pub(crate) type Tar = Chain<Cursor<Vec<u8>>, Box<dyn Read>>;

/// Decompresses a file; nothing if it is no archive, however compressed.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn open(mut file: File) -> io::Result<Option<Tar>> {
    let mut magic = Vec::new();
    file.by_ref().take(6).read_to_end(&mut magic)?;
    file.rewind()?;
    stream(BufReader::with_capacity(1 << 20, file), &magic)
}

/// As [`open`], for a stream that begins with `magic`.
pub(crate) fn stream(input: impl Read + 'static, magic: &[u8]) -> io::Result<Option<Tar>> {
    let mut plain: Box<dyn Read> = match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(input)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::read::MultiBzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(input, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(input)?),
        _ => Box::new(input),
    };
    let mut header = Vec::new();
    // Garbage behind a magic number is no archive, and no reason to fail.
    let read = plain.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut header);
    Ok((read.is_ok() && is_tar(&header)).then(|| Cursor::new(header).chain(plain)))
}

/// Has the block the checksum of a header?
fn is_tar(header: &[u8]) -> bool {
    if header.len() < BLOCK_BYTES || header[0] == 0 {
        return false;
    }
    let text = String::from_utf8_lossy(&header[CHECKSUM]);
    let written = u32::from_str_radix(text.trim_matches(['\0', ' ']), 8);
    let sum = header.iter().enumerate().map(|(at, byte)| match CHECKSUM.contains(&at) {
        true => u32::from(b' '),
        false => u32::from(*byte),
    });
    written == Ok(sum.sum())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tar() -> Vec<u8> {
        let mut entry = tar_core::builder::EntryBuilder::new_ustar();
        entry.path("f").entry_type(tar_core::EntryType::Regular);
        entry.mode(0o644).unwrap().uid(0).unwrap().gid(0).unwrap();
        entry.size(0).unwrap().mtime(0).unwrap();
        [entry.finish_bytes(), vec![0; 1024]].concat()
    }

    fn check(bytes: &[u8], expect: Option<&[u8]>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let found = open(file).unwrap().map(|mut tar| {
            let mut plain = Vec::new();
            tar.read_to_end(&mut plain).unwrap();
            plain
        });
        assert_eq!(found.as_deref(), expect);
    }

    #[test]
    fn compressed_and_plain() {
        let tar = tar();
        check(&tar, Some(&tar));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        check(&gzip.finish().unwrap(), Some(&tar));
        check(&zstd::encode_all(tar.as_slice(), 1).unwrap(), Some(&tar));
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&tar).unwrap();
        check(&bzip2.finish().unwrap(), Some(&tar));
    }

    #[test]
    fn what_is_no_archive_is_left_alone() {
        check(b"", None);
        check(b"hello", None);
        check(&[0; 2048], None);
        check(b"\x1f\x8bgarbage", None);
        let mut damaged = tar();
        damaged[0] ^= 1;
        check(&damaged, None);
    }
}
