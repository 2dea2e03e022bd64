//! Namespaces of a thread by its descriptor (pidfd_open(2), ioctl_ns(2)): quicker than the links in
//! `/proc/PID/task/TID/ns`, and nothing is left in the kernel's cache of names.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::errno::{Result, cvt};

/// The requests of `linux/pidfd.h` (Linux 6.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    Cgroup = 0xff01,
    Ipc = 0xff02,
    Net = 0xff04,
    Uts = 0xff0a,
}

/// Opens a descriptor for a thread that need not lead its process.
///
/// # Errors
/// `ESRCH` if there is no such thread, `EINVAL` before Linux 6.9.
pub fn open_thread(tid: i32) -> Result<OwnedFd> {
    const PIDFD_THREAD: i32 = libc::O_EXCL;
    // SAFETY: pidfd_open takes numbers only.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, tid, PIDFD_THREAD) })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Opens the namespace in which a task is.
///
/// # Errors
/// `ENOTTY` before Linux 6.11, `ESRCH` if the task has ended, `EACCES` without ptrace access to it.
pub fn namespace(pidfd: BorrowedFd<'_>, kind: Namespace) -> Result<OwnedFd> {
    // SAFETY: these requests take no argument.
    let fd = cvt(unsafe { libc::ioctl(pidfd.as_raw_fd(), kind as libc::c_ulong, 0) }.into())?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd, unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn a_thread_is_in_the_namespaces_of_its_process() {
        let told = std::thread::spawn(|| {
            // SAFETY: takes no argument.
            let pidfd = open_thread(unsafe { libc::gettid() })?;
            let kinds = [Namespace::Cgroup, Namespace::Ipc, Namespace::Net, Namespace::Uts];
            kinds.into_iter().map(|kind| namespace(pidfd.as_fd(), kind)).collect::<Result<Vec<_>>>()
        });
        match told.join().unwrap() {
            Ok(opened) => {
                for (opened, name) in opened.into_iter().zip(["cgroup", "ipc", "net", "uts"]) {
                    let link = std::fs::metadata(format!("/proc/self/ns/{name}")).unwrap();
                    assert_eq!(std::fs::File::from(opened).metadata().unwrap().ino(), link.ino());
                }
            }
            Err(errno) => assert!([libc::EINVAL, libc::ENOTTY].contains(&errno.0), "{errno:?}"),
        }
    }
}
