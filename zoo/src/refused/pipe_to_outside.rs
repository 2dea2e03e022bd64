//! A pipe whose other end is held by a process outside of the tree.

use std::io::{Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "a pipe to a process outside of the tree is refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("pipe");

pub fn run(stage: &Stage) -> Verdict {
    let (mut reader, writer) = std::io::pipe()?;
    let mut writer = writer;
    super::outside(stage, |stage| {
        stage.wait_for_go()?;
        Ok(writer.write_all(b"x")?)
    })?;
    drop(writer);
    stage.pause()?;
    let mut byte = [0];
    reader.read_exact(&mut byte).context("the pipe is broken")?;
    Ok(())
}
