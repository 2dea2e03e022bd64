//! Dumps that CRIU 4.2 made. Each needs the very program that ran then.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::ensure;
use libtest_mimic::Trial;

const PROGRAM: &str = "/usr/bin/busybox";
const PROGRAM_BYTES: u64 = 1_982_256;
/// In a pid namespace of its own nobody else has the pids. Its end is the end of the tree.
const UNSHARE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];
/// Restores the tree of process 19790 and waits until that has another child.
const RESTORE: &str = r#"
    "$0" process restore -d -D "$1" || exit 1
    children=/proc/19790/task/19790/children
    first=$(cat $children)
    for look in $(seq 400); do
        [ "$(cat $children)" = "$first" ] || exit 0
        sleep 0.05
    done
    echo "the loop stands still" >&2
    exit 1"#;

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
    let mut restore = Command::new("unshare");
    restore.args(UNSHARE).args(["sh", "-c", RESTORE, env!("CARGO_BIN_EXE_stasis")]);
    let restored = restore.arg(images.path()).stdin(Stdio::null()).output()?;
    ensure!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    Ok(())
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
