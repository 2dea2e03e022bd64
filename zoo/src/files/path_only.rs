//! Descriptors opened with O_PATH: of a file, a directory and a symbolic link.

use std::{fs, os::unix::fs::{OpenOptionsExt, symlink}};

use crate::prelude::*;

pub const GOAL: &str = "O_PATH descriptors survive, of symbolic links too";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    fs::write(stage.path("file"), "x")?;
    symlink("file", stage.path("link"))?;
    let open = |name: &str, flags| {
        let flags = libc::O_PATH | flags;
        fs::File::options().read(true).custom_flags(flags).open(stage.path(name))
    };
    let files = [
        open("file", 0)?,
        open(".", libc::O_DIRECTORY)?,
        open("link", libc::O_NOFOLLOW)?,
    ];
    super::keep(stage, || super::looks(&files))
}
