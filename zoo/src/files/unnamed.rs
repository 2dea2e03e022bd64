//! A file that never had a name (O_TMPFILE).

use std::{fs, io::Write, os::unix::fs::{FileExt, OpenOptionsExt}};

use crate::prelude::*;

pub const GOAL: &str = "a file made with O_TMPFILE survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut options = fs::File::options();
    let options = options.read(true).write(true).custom_flags(libc::O_TMPFILE);
    let mut file = options.open(stage.dir())?;
    file.write_all(b"never had a name")?;
    stage.pause()?;
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, 0)?;
    ensure!(&bytes == b"never had a name", "{bytes:?}");
    file.write_all(b"!")?;
    ensure!(file.metadata()?.len() == 17, "length {}", file.metadata()?.len());
    Ok(())
}
