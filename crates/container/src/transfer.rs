//! A tree from one place to another, by way of an archive: whatever it consists of comes along.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    thread,
};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Context, Error, Result};

const COPY_BYTES: usize = 1 << 20;

/// Lets `pack` write what `unpack` reads.
///
/// # Errors
/// Those of `unpack`, else those of `pack`.
pub(crate) fn through<T>(
    pack: impl FnOnce(&mut dyn Write) -> Result<()> + Send,
    unpack: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context("make", "a pipe")?;
    thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let mut out = BufWriter::with_capacity(COPY_BYTES, File::from(writer));
            pack(&mut out)?;
            out.flush().context("copy", "an archive")
        });
        let mut input = BufReader::with_capacity(COPY_BYTES, File::from(reader));
        let unpacked = unpack(&mut input);
        // Who unpacks may have stopped at the end of the archive, or earlier.
        if unpacked.is_ok() {
            let _ = std::io::copy(&mut input, &mut std::io::sink());
        }
        drop(input);
        let packed =
            packing.join().unwrap_or_else(|_| Err(Error::invalid("copying came to a sudden end")));
        match (unpacked, packed) {
            (Ok(done), Ok(())) => Ok(done),
            // An archive that ends too early does so since packing failed.
            (_, Err(error)) if !is_broken_pipe(&error) => Err(error),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        }
    })
}

fn is_broken_pipe(error: &Error) -> bool {
    let kind = match error {
        Error::Refused { source, .. }
        | Error::Enclosure(stasis_enclosure::Error::Refused { source, .. }) => source.kind(),
        _ => return false,
    };
    kind == std::io::ErrorKind::BrokenPipe
}
