//! A deleted file that has another name: afterwards it is still the file under that name.

use std::{fs, os::unix::fs::{FileExt, MetadataExt}};

use crate::prelude::*;

pub const GOAL: &str = "a deleted name of a file with another link stays that same file";
pub const KIND: Kind = Kind::KeptOrRefused("link");

pub fn run(stage: &Stage) -> Verdict {
    let (path, other) = (stage.path("deleted"), stage.path("other"));
    fs::write(&path, "contents")?;
    let file = fs::File::options().read(true).write(true).open(&path)?;
    fs::hard_link(&path, &other)?;
    fs::remove_file(&path)?;
    stage.pause()?;
    file.write_all_at(b"C", 0)?;
    ensure!(fs::read_to_string(&other)? == "Contents", "the other name is another file");
    ensure!(file.metadata()?.ino() == fs::metadata(&other)?.ino(), "inodes differ");
    ensure!(file.metadata()?.nlink() == 1, "{} links", file.metadata()?.nlink());
    ensure!(!path.exists(), "the deleted name is back");
    Ok(())
}
