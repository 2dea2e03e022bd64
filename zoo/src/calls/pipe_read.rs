//! read(2) on an empty pipe ends when another thread writes.

use std::io::{Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "read(2) on an empty pipe waits for data";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (mut reader, mut writer) = std::io::pipe()?;
    super::woken(stage, move || Ok(writer.write_all(b"late")?), || {
        let mut bytes = [0; 10];
        // A single read: std would try again after EINTR.
        let count = reader.read(&mut bytes).context("read")?;
        ensure!(&bytes[..count] == b"late", "read {:?}", &bytes[..count]);
        Ok(())
    })
}
