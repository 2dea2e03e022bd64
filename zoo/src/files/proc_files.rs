//! Open files of proc: of the system, and of the process itself.

use std::{fs, io::Read};

use crate::prelude::*;

pub const GOAL: &str = "open files in proc survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut own = fs::File::open("/proc/self/status")?;
    let files = [fs::File::open("/proc/sys/kernel/ostype")?, fs::File::open("/proc/self/fd")?];
    super::keep(stage, || super::looks(&files))?;
    let mut text = String::new();
    own.read_to_string(&mut text)?;
    let pid = format!("\nPid:\t{}\n", raw::getpid());
    ensure!(text.contains(&pid), "the status is that of another process: {text}");
    Ok(())
}
