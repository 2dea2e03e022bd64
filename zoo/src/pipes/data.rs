//! Pipes with data in flight: a little, full to the brim, and a changed size.

use std::io::{Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "data waiting in pipes, and their sizes, survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut pipes = Vec::new();
    for (size, len) in [(65536, 5), (65536, 65536), (1 << 20, 700_000), (4096, 4096)] {
        let (reader, mut writer) = std::io::pipe()?;
        rustix::pipe::fcntl_setpipe_size(&writer, size)?;
        let data: Vec<u8> = (0..len).map(|i| (i % 253) as u8).collect();
        writer.write_all(&data)?;
        pipes.push((reader, writer, size, data));
    }
    stage.pause()?;
    for (mut reader, mut writer, size, mut data) in pipes {
        let now = rustix::pipe::fcntl_getpipe_size(&reader)?;
        ensure!(now == size, "size {now} instead of {size}");
        let mut bytes = vec![0; data.len()];
        reader.read_exact(&mut bytes)?;
        ensure!(bytes == data, "{} bytes changed", data.len());
        writer.write_all(b"more")?;
        drop(writer);
        data.clear();
        reader.read_to_end(&mut data)?;
        ensure!(data == b"more", "then came {data:?}");
    }
    Ok(())
}
