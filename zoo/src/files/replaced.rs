//! A deleted file whose name now belongs to another file, as editors and log rotation do it.

use std::{fs, io::Read};

use crate::prelude::*;

pub const GOAL: &str = "a file that was replaced under its name is not confused with the new one";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("file");
    fs::write(&path, "old")?;
    let mut old = fs::File::open(&path)?;
    fs::write(stage.path("new"), "new")?;
    fs::rename(stage.path("new"), &path)?;
    let mut new = fs::File::open(&path)?;
    stage.pause()?;
    let mut texts = [String::new(), String::new()];
    old.read_to_string(&mut texts[0])?;
    new.read_to_string(&mut texts[1])?;
    ensure!(texts == ["old", "new"], "{texts:?}");
    ensure!(fs::read_to_string(&path)? == "new", "the name leads to the old file");
    Ok(())
}
