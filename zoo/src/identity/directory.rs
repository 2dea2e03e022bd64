//! The current directory, also one that only root may enter.

use std::{env, fs};

use crate::prelude::*;

pub const GOAL: &str = "the current directory survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let dir = stage.path("a dir\twith\nodd name");
    fs::create_dir(&dir)?;
    env::set_current_dir(&dir)?;
    super::keep(stage, || Ok(vec![env::current_dir()?.display().to_string()]))?;
    fs::write("relative", "x")?;
    ensure!(dir.join("relative").exists(), "a relative path leads elsewhere");
    Ok(())
}
