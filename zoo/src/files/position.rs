//! Regular files with position and flags: read only, write only, append, O_SYNC, O_NOATIME.

use std::{fs, io::{Seek, SeekFrom, Write}, os::unix::fs::OpenOptionsExt};

use crate::prelude::*;

pub const GOAL: &str = "open files keep their position, mode and flags";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("file");
    fs::write(&path, "0123456789")?;
    let open = |flags| fs::File::options().read(true).write(true).custom_flags(flags).open(&path);
    let mut files = vec![
        fs::File::open(&path)?,
        fs::File::options().write(true).open(&path)?,
        fs::File::options().append(true).open(&path)?,
        open(libc::O_SYNC)?,
        open(libc::O_NOATIME | libc::O_NONBLOCK)?,
        open(libc::O_DSYNC | libc::O_DIRECT)?,
    ];
    for (position, file) in (2..).zip(&mut files) {
        file.seek(SeekFrom::Start(position))?;
    }
    files[1].seek(SeekFrom::Start(1 << 40))?;
    super::keep(stage, || super::looks(&files))?;
    files[2].write_all(b"end")?;
    let contents = fs::read_to_string(&path)?;
    ensure!(contents == "0123456789end", "appended: {contents}");
    ensure!(files[0].write(b"x").is_err(), "a read-only file was written");
    Ok(())
}
