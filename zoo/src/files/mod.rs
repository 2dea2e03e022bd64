//! Open files and descriptor tables.

crate::programs! { "files";
    busy
    crowded_table
    deleted
    deleted_directory
    deleted_file_in_directory
    deleted_sparse
    deleted_with_link
    descriptors
    devices
    directory
    leases
    limit_below_open
    locks
    locks_of_description
    locks_of_ranges
    odd_names
    owner_and_signal
    path_only
    position
    proc_files
    replaced
    shared_position
    shared_table
    table_of_thread
    unnamed
}

use std::{
    fs,
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::ensure;

use crate::{program::Verdict, raw, stage::Stage};

type Look = anyhow::Result<Vec<String>>;

/// Looks at something, waits, and checks that it looks the same.
pub fn keep(stage: &Stage, look: impl Fn() -> Look) -> Verdict {
    let before = look()?;
    stage.pause()?;
    let after = look()?;
    ensure!(after == before, "{after:?} instead of {before:?}");
    Ok(())
}

/// Path, position and flags of open files.
pub fn looks(files: &[fs::File]) -> Look {
    let look = |file: &fs::File| {
        let fd = file.as_raw_fd();
        let path = fs::read_link(format!("/proc/self/fd/{fd}"))?;
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
        let position = info.lines().find(|line| line.starts_with("pos")).unwrap_or_default();
        Ok(format!("{} {position} {}", path.display(), status_flags(&fd)?))
    };
    files.iter().map(look).collect()
}

/// Flags of open files (F_GETFL).
pub fn flags(files: &[&OwnedFd]) -> Look {
    files.iter().map(|fd| status_flags(*fd)).collect()
}

/// Flags without O_LARGEFILE, which means nothing to a 64-bit program: open(2) sets it, and
/// pipe(2) does not.
pub fn status_flags(file: &impl AsRawFd) -> anyhow::Result<String> {
    let arguments = [file.as_raw_fd() as usize, libc::F_GETFL as usize];
    let flags = raw::syscall(libc::SYS_fcntl, &arguments)?;
    Ok(format!("flags {:o}", flags & !0o100_000))
}

/// The next few names in an open directory (getdents64(2)).
fn some_names(dir: &fs::File) -> std::io::Result<Vec<String>> {
    let mut bytes = [0_u8; 4096];
    let arguments = [dir.as_raw_fd() as usize, raw::into(&mut bytes), bytes.len()];
    let mut rest = &bytes[..raw::syscall(libc::SYS_getdents64, &arguments)?];
    let mut names = Vec::new();
    while rest.len() > 19 {
        let len = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
        let name = rest[19..len].split(|&byte| byte == 0).next().unwrap_or_default();
        names.push(String::from_utf8_lossy(name).into_owned());
        rest = &rest[len..];
    }
    Ok(names)
}

/// Soft and hard limit of open files.
fn file_limit() -> anyhow::Result<(u64, u64)> {
    let mut limit = [0_u64; 2];
    let arguments = [0, libc::RLIMIT_NOFILE as usize, 0, raw::into(&mut limit)];
    raw::syscall(libc::SYS_prlimit64, &arguments)?;
    Ok((limit[0], limit[1]))
}
