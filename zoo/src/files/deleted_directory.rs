//! An open directory that has been removed, and a file deleted inside it.

use std::{fs, io::Read};

use crate::prelude::*;

pub const GOAL: &str = "a removed directory and a file that was in it stay open, or are refused";
pub const KIND: Kind = Kind::KeptOrRefused("director");

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("dir");
    fs::create_dir(&path)?;
    fs::write(path.join("file"), "in it")?;
    let mut file = fs::File::open(path.join("file"))?;
    let dir = fs::File::open(&path)?;
    fs::remove_dir_all(&path)?;
    stage.pause()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    ensure!(text == "in it", "the file holds {text}");
    ensure!(dir.metadata()?.is_dir(), "the directory is none any more");
    let names = super::some_names(&dir).map_err(|error| error.raw_os_error());
    ensure!(names == Err(Some(libc::ENOENT)), "{names:?} in a directory that is gone");
    ensure!(!path.exists(), "the directory has its name again");
    Ok(())
}
