//! An open directory in the middle of being read.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "an open directory keeps its position";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let dir = stage.path("dir");
    fs::create_dir(&dir)?;
    (0..500).try_for_each(|n| fs::write(dir.join(format!("file-with-a-long-name-{n}")), ""))?;
    let open = fs::File::open(&dir)?;
    let mut names = super::some_names(&open)?;
    ensure!(names.len() < 500, "all names came at once");
    stage.pause()?;
    loop {
        let more = super::some_names(&open)?;
        if more.is_empty() {
            break;
        }
        names.extend(more);
    }
    names.sort();
    let count = names.len();
    names.dedup();
    ensure!((count, names.len()) == (502, 502), "{count} names, {} of them different", names.len());
    Ok(())
}
