//! write(2) of more than a pipe holds, frozen when part of it is written: every byte arrives once.

use std::io::{Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "write(2) into a full pipe goes on where it was";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (mut reader, mut writer) = std::io::pipe()?;
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i / 7) as u8).collect();
    let expected = bytes.clone();
    let stage_of_reader = stage.clone();
    let read = std::thread::spawn(move || -> anyhow::Result<Vec<u8>> {
        stage_of_reader.wait_for_go()?;
        let mut all = Vec::new();
        reader.read_to_end(&mut all)?;
        Ok(all)
    });
    stage.ready()?;
    writer.write_all(&bytes).context("write")?;
    drop(writer);
    let all = read.join().expect("nobody panics")?;
    ensure!(all == expected, "{} bytes arrived, or in another order", all.len());
    Ok(())
}
