//! Open files whose names hold blanks, newlines, and the word that marks deleted files.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "open files with odd names survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let names = ["a b", "line\nbreak", "gone (deleted)", "back\\slash", "\u{e4}\u{1f600}", "t\tb"];
    let mut files = Vec::new();
    for name in names {
        fs::write(stage.path(name), name)?;
        files.push(fs::File::open(stage.path(name))?);
    }
    super::keep(stage, || super::looks(&files))
}
