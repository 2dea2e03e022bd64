//! The sysctls of an IPC namespace (ipc_namespaces(7), `/proc/sys/kernel` and `/proc/sys/fs/mqueue`).
//!
//! The proc file system shows those of whoever opens the file: a thread of ours goes there to read.

use std::{fs, os::fd::AsFd, str::FromStr, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use stasis_files::IpcSysctls;

use crate::facade::Error;

/// Reads the sysctls of the IPC namespace of `pid`.
///
/// # Errors
/// [`Error::Failed`] if the namespace cannot be entered or a value is missing.
pub fn read(pid: i32) -> Result<IpcSysctls, Error> {
    let path = format!("/proc/{pid}/ns/ipc");
    let namespace = fs::File::open(&path).map_err(|error| failed(&path, error))?;
    let reader = thread::spawn(move || {
        let kind = Some(LinkNameSpaceType::InterProcessCommunication);
        move_into_link_name_space(namespace.as_fd(), kind).map_err(|error| failed(&path, error))?;
        read_here()
    });
    reader.join().map_err(|_| Error::Failed("internal error: a reader of sysctls died".into()))?
}

fn read_here() -> Result<IpcSysctls, Error> {
    let kernel = |name: &str| format!("/proc/sys/kernel/{name}");
    let mqueue = |name: &str| format!("/proc/sys/fs/mqueue/{name}");
    Ok(IpcSysctls {
        sem: values(&kernel("sem"))?
            .try_into()
            .map_err(|_| failed("/proc/sys/kernel/sem", "it does not hold four values"))?,
        msgmax: value(&kernel("msgmax"))?,
        msgmnb: value(&kernel("msgmnb"))?,
        msgmni: value(&kernel("msgmni"))?,
        // Not in kernels since 6.12.
        auto_msgmni: value(&kernel("auto_msgmni")).unwrap_or(0),
        shmmax: value(&kernel("shmmax"))?,
        shmall: value(&kernel("shmall"))?,
        shmmni: value(&kernel("shmmni"))?,
        shm_rmid_forced: value(&kernel("shm_rmid_forced"))?,
        queues_max: value(&mqueue("queues_max"))?,
        msg_max: value(&mqueue("msg_max"))?,
        msgsize_max: value(&mqueue("msgsize_max"))?,
        msg_default: Some(value(&mqueue("msg_default"))?),
        msgsize_default: Some(value(&mqueue("msgsize_default"))?),
    })
}

fn value<T: FromStr>(path: &str) -> Result<T, Error> {
    values(path)?.pop().ok_or_else(|| failed(path, "it is empty"))
}

fn values<T: FromStr>(path: &str) -> Result<Vec<T>, Error> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
    let number = |word: &str| word.parse().map_err(|_| failed(path, "it does not hold numbers"));
    text.split_ascii_whitespace().map(number).collect()
}

fn failed(path: &str, reason: impl std::fmt::Display) -> Error {
    Error::Failed(format!("cannot read {path}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_are_readable() {
        let own = read(std::process::id().cast_signed()).expect("we may look at ourselves");
        assert!(own.msgmax > 0 && own.queues_max > 0);
    }
}
