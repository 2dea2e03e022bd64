//! Dumps that CRIU 4.2 made. Each needs the very program that ran then.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::ensure;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process_group};

const PROGRAM: &str = "/usr/bin/busybox";
const PROGRAM_BYTES: u64 = 1_982_256;
const ROOT: i32 = 19790;

/// A shell that starts `sleep 1` again and again.
pub fn busybox_counter() -> Trial {
    let found = fs::metadata(PROGRAM).map_or(0, |meta| meta.len());
    if found != PROGRAM_BYTES {
        eprintln!(
            "not run: foreign/busybox-counter: {PROGRAM} has {found} bytes, not {PROGRAM_BYTES}"
        );
    }
    let trial = Trial::test("foreign/busybox-counter::restore", || {
        goes_on().map_err(|error| format!("{error:#}").into())
    });
    trial.with_ignored_flag(found != PROGRAM_BYTES)
}

fn goes_on() -> anyhow::Result<()> {
    let images = copy_of_dump()?;
    let mut restore = Command::new(env!("CARGO_BIN_EXE_stasis"));
    restore.args(["process", "restore", "-d", "-D"]).arg(images.path()).stdin(Stdio::null());
    let restored = restore.output()?;
    ensure!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let outcome = starts_another_child();
    kill_process_group(Pid::from_raw(ROOT).expect("not zero"), Signal::KILL)?;
    outcome
}

fn copy_of_dump() -> anyhow::Result<tempfile::TempDir> {
    let images = tempfile::tempdir()?;
    let data: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../files/tests/data/busybox-counter");
    for file in fs::read_dir(data)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), images.path().join(file.file_name()))?;
        }
    }
    Ok(images)
}

fn starts_another_child() -> anyhow::Result<()> {
    let children = || fs::read_to_string(format!("/proc/{ROOT}/task/{ROOT}/children"));
    let first = children()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while children()? == first {
        ensure!(Instant::now() < deadline, "the loop stands still");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
