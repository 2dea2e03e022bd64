//! Character devices without state.

use std::{fs, io::{Read, Write}};

use crate::prelude::*;

pub const GOAL: &str = "open /dev/null, zero, full, random and urandom survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let open = |name: &str| {
        fs::File::options().read(true).write(true).open(format!("/dev/{name}"))
    };
    let mut files = ["null", "zero", "full", "random", "urandom"]
        .map(open)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    super::keep(stage, || super::looks(&files))?;
    let mut bytes = [1; 16];
    ensure!(files[0].read(&mut bytes)? == 0, "/dev/null gave something");
    files[1].read_exact(&mut bytes)?;
    ensure!(bytes == [0; 16], "/dev/zero gave {bytes:?}");
    ensure!(files[2].write(b"x").is_err(), "/dev/full took something");
    files[4].read_exact(&mut bytes)?;
    ensure!(bytes != [0; 16], "/dev/urandom gave zeros");
    Ok(())
}
