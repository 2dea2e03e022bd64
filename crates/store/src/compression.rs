//! Compressed streams, told by their first bytes, whatever a media type says.

use std::io::{self, BufRead, BufReader, Read};

const BUFFER_BYTES: usize = 256 << 10;
/// A zstd frame may ask for so much memory, as a power of two; the format's own limit for decoders.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for formats that are known but not read.
    fn of(beginning: &[u8]) -> io::Result<Compression> {
        let other = |name: &str| {
            let text = format!("it is compressed with {name}; only gzip and zstd are read");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        };
        match beginning {
            [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
            // A skippable frame, which some tools put in front.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => other("xz"),
            [b'B', b'Z', b'h', ..] => other("bzip2"),
            _ => Ok(Compression::None),
        }
    }
}

/// The stream as it was before it was compressed.
///
/// # Errors
/// Those of the stream, and [`io::ErrorKind::Unsupported`].
pub fn decompressed<'a>(
    input: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let compression = Compression::of(input.fill_buf()?)?;
    let plain: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    };
    Ok((compression, plain))
}
