//! More mapped files than the first thousand descriptor numbers, none of them open any more.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "mappings of more than a thousand files survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    const COUNT: u32 = 1100;
    let map = |number: u32| -> anyhow::Result<raw::Mapping> {
        let path = stage.path(&format!("file-{number}"));
        fs::write(&path, number.to_ne_bytes().repeat(1024))?;
        let file = fs::File::options().read(true).write(true).open(&path)?;
        Ok(raw::Mapping::file(&file, raw::PAGE, libc::MAP_SHARED)?)
    };
    let all = (0..COUNT).map(map).collect::<anyhow::Result<Vec<_>>>()?;
    stage.pause()?;
    for (number, mapping) in (0..COUNT).zip(&all) {
        let bytes = mapping.read(raw::PAGE - 4, 4);
        ensure!(bytes == number.to_ne_bytes(), "file {number} holds {bytes:?}");
        mapping.write(0, b"new");
        let text = fs::read(stage.path(&format!("file-{number}")))?;
        ensure!(text.starts_with(b"new"), "file {number} is no longer mapped");
    }
    Ok(())
}
