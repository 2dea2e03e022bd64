//! Our own helper processes that live as long as a container or a tree. There may be many of them, so they must be
//! small: what reads the command line of users needs more memory than all the rest of them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use stasis_container::{Home, health, keeper, monitor};

use crate::{
    command::{image_bounds, log_to_stderr},
    failure::Result,
};

/// A helper, by its verb.
enum Helper {
    Monitor,
    Health,
}

/// Is this one of them? Then it does its work and gives its exit code.
pub fn run(arguments: &[OsString]) -> Option<Result<i32>> {
    if let [_, verb, tree, record] = arguments
        && verb == "internal-keep"
    {
        let tree = tree.to_str()?.parse().ok()?;
        return Some(keeper::main(tree, Path::new(record)).map(|()| 0).map_err(Into::into));
    }
    let [_, root_word, root, runroot_word, runroot, verb, id] = arguments else { return None };
    let helper = match verb.to_str() {
        Some("internal-monitor") => Helper::Monitor,
        Some("internal-health") => Helper::Health,
        _ => return None,
    };
    if root_word != "--root" || runroot_word != "--runroot" {
        return None;
    }
    Some(help(&helper, root.into(), runroot.into(), id.to_str()?))
}

fn help(helper: &Helper, root: PathBuf, runroot: PathBuf, id: &str) -> Result<i32> {
    log_to_stderr(tracing::Level::WARN);
    let bounds = image_bounds(std::env::var("STASIS_MAX_LAYER_SIZE").ok().as_deref())?;
    let home = Home::new(root, runroot).with_image_bounds(bounds);
    match helper {
        Helper::Monitor => monitor::main(home, id)?,
        Helper::Health => health::main(home, id)?,
    }
    Ok(0)
}
