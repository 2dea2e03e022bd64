//! What lies where in the directory of a checkpoint.
//!
//! | file | holds |
//! |---|---|
//! | `checkpoint/` | the tasks, written by the engine in CRIU's format |
//! | `checkpoint/descriptors.json` | where descriptors 0, 1, 2 led, as runc writes it |
//! | `config.json` | [`super::Checkpoint`]: whose it is, when, its parent, its size |
//! | `rootfs-diff.tar` | what the container had changed at the same instant |
//! | `deleted.files` | what it had removed, for readers other than us |
//! | `devshm-checkpoint.tar` | contents of `/dev/shm` |
//! | `tmpfs-N.tar` | contents of the N-th file system in memory |
//! | `pre-checkpoint/` | memory that was written before, if it builds upon a round ([`super::rounds`]) |
//! | `volumes/NAME.tar` | contents of the container's volumes |
//! | `spec.dump` | the OCI runtime specification of the container, for others |
//! | `stdin` | what lay unread in the pipe to standard input |
//! | `checksums.json` | length and BLAKE3 of every file above |
//!
//! Names and contents are those of Podman's archives where it has such a file.

use std::path::Path;

pub(super) const CONFIG: &str = "config.json";
pub(super) const IMAGES: &str = "checkpoint";
pub(super) const DESCRIPTORS: &str = "checkpoint/descriptors.json";
pub(super) const ROOTFS_DIFF: &str = "rootfs-diff.tar";
pub(super) const DELETED: &str = "deleted.files";
pub(super) const SPEC_DUMP: &str = "spec.dump";
pub(super) const DEVSHM: &str = "devshm-checkpoint.tar";
pub(super) const SHM_TARGET: &str = "/dev/shm";
pub(super) const STDIN: &str = "stdin";

/// The file for the content of the file system in memory at `target`, the `index`-th one.
pub(super) fn tmpfs_file(index: usize, target: &Path) -> String {
    match target == Path::new(SHM_TARGET) {
        true => DEVSHM.into(),
        false => format!("tmpfs-{index}.tar"),
    }
}
