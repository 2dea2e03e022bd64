//! One open file behind two descriptors and in a child: one position; a second open(2) has another.

use std::{fs, io::{Read, Seek}};

use crate::prelude::*;

pub const GOAL: &str = "descriptors made by dup(2) and fork(2) share one position, others do not";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    fs::write(stage.path("file"), "0123456789")?;
    let mut file = fs::File::open(stage.path("file"))?;
    let mut twin = file.try_clone()?;
    let mut other = fs::File::open(stage.path("file"))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    let child = raw::fork(stage, |stage| {
        stage.mark("child")?;
        stage.wait_for("mine")?;
        let mut byte = [0];
        fs::File::read_exact(&mut file.try_clone()?, &mut byte)?;
        ensure!(&byte == b"3", "the child read {byte:?}");
        Ok(())
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    file.read_exact(&mut byte)?;
    ensure!(&byte == b"1", "read {byte:?}");
    twin.read_exact(&mut byte)?;
    ensure!(&byte == b"2", "the twin read {byte:?}");
    stage.mark("mine")?;
    child.join(stage)?;
    ensure!(file.stream_position()? == 4, "position {}", file.stream_position()?);
    other.read_exact(&mut byte)?;
    ensure!(&byte == b"0", "another open file read {byte:?}");
    Ok(())
}
