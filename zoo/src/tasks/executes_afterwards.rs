//! A restored process can fork and execute another program, and execute one itself.

use std::{os::unix::process::CommandExt, process::Command};

use crate::prelude::*;

pub const GOAL: &str = "a restored process can start and become other programs";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    stage.pause()?;
    let output = Command::new("/bin/sh").args(["-c", "echo $((6 * 7))"]).output()?;
    ensure!(output.stdout == b"42\n", "the shell said {:?}", output.stdout);
    let script = r#"printf pass > "$ZOO_DIR/result.draft" && mv "$ZOO_DIR/result.draft" "$ZOO_DIR/result""#;
    Err(Command::new("/bin/sh").args(["-c", script]).exec().into())
}
