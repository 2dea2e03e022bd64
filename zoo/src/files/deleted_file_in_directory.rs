//! A deleted file whose directory was removed too.

use std::{fs, io::Read};

use crate::prelude::*;

pub const GOAL: &str = "a deleted file in a removed directory survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("dir");
    fs::create_dir(&path)?;
    fs::write(path.join("file"), "in it")?;
    let mut file = fs::File::open(path.join("file"))?;
    fs::remove_dir_all(&path)?;
    stage.pause()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    ensure!(text == "in it", "the file holds {text}");
    ensure!(!path.exists(), "the directory has its name again");
    Ok(())
}
