//! Builds the workspace's own programs and finds them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Release,
}

pub struct Binaries {
    pub stasis: PathBuf,
    pub zoo: PathBuf,
}

pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(workspace());
    command
}

pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies inside the workspace")
}

/// Builds `stasis` and `zoo`.
pub fn binaries(profile: Profile) -> anyhow::Result<Binaries> {
    let mut build = cargo();
    build.args(["build", "--package", "stasis", "--package", "zoo"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    ensure!(build.status().context("cannot start cargo")?.success(), "the build failed");
    Ok(binaries_in(&directory(profile)?))
}

fn binaries_in(dir: &Path) -> Binaries {
    Binaries { stasis: dir.join("stasis"), zoo: dir.join("zoo") }
}

/// Builds everything that tests need, and nothing twice: what is built for some packages alone may have
/// other features than what is built for the tests of all.
pub fn with_tests() -> anyhow::Result<Binaries> {
    let mut build = cargo();
    build.args(["build", "--workspace", "--all-targets"]);
    ensure!(build.status().context("cannot start cargo")?.success(), "the build failed");
    Ok(binaries_in(&directory(Profile::Dev)?))
}

/// Where cargo puts programs: this one lies in the same target directory.
fn directory(profile: Profile) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find myself")?;
    let profiles = own.parent().and_then(Path::parent).context("not in a target directory")?;
    Ok(profiles.join(if profile == Profile::Release { "release" } else { "debug" }))
}
