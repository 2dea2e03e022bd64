//! Deleted files with holes: in the middle, at the start, at the end, a gigabyte long, many.

use std::{fs, os::unix::fs::{FileExt, MetadataExt}};

use crate::prelude::*;

pub const GOAL: &str = "deleted files keep their holes and what is between them";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let make = |name: &str, len: u64, data: &[u64]| -> anyhow::Result<fs::File> {
        let path = stage.path(name);
        let file = fs::File::options().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(len)?;
        data.iter().try_for_each(|place| file.write_all_at(b"data", *place))?;
        file.sync_all()?;
        fs::remove_file(path)?;
        Ok(file)
    };
    let many: Vec<u64> = (0..1000).map(|n| n * 12288).collect();
    let cases: [(fs::File, u64, &[u64]); 6] = [
        (make("middle", 100_000, &[0, 90_000])?, 100_000, &[0, 90_000]),
        (make("start", 100_000, &[99_000])?, 100_000, &[99_000]),
        (make("end", 100_000, &[10])?, 100_000, &[10]),
        (make("empty", 100_000, &[])?, 100_000, &[]),
        (make("huge", (1 << 30) + 4096, &[1 << 30])?, (1 << 30) + 4096, &[1 << 30]),
        (make("many", 12_288_000, &many)?, 12_288_000, &many),
    ];
    let before: Vec<u64> = cases.iter().map(|c| c.0.metadata().map(|m| m.blocks())).collect::<Result<_, _>>()?;
    stage.pause()?;
    for ((file, len, data), blocks) in cases.iter().zip(before) {
        let meta = file.metadata()?;
        ensure!(meta.len() == *len, "{} bytes instead of {len}", meta.len());
        ensure!(meta.blocks() <= blocks + 16, "{} blocks instead of {blocks}", meta.blocks());
        for place in *data {
            let mut bytes = [0; 5];
            file.read_at(&mut bytes, *place)?;
            ensure!(&bytes == b"data\0", "{bytes:?} at {place}");
        }
    }
    Ok(())
}
