//! What the kernel tells of a task by its descriptor (pidfd_open(2), `linux/pidfd.h`): quicker than `/proc`, and
//! nothing is left in the kernel's cache of names.

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
    open(tid, PIDFD_THREAD)
}

fn open(pid: i32, flags: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes numbers only.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The parent of a process as we see it, 0 if it is outside our pid namespace.
///
/// # Errors
/// `ESRCH` if there is no such process or it was waited for, `EINVAL` or `ENOTTY` before Linux 6.13.
pub fn parent(pid: i32) -> Result<i32> {
    /// `struct pidfd_info` as it was first.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup_id: u64,
        pid: u32,
        tgid: u32,
        ppid: u32,
        ids: [u32; 8],
        exit_code: i32,
    }
    /// `_IOWR(0xff, 11, struct pidfd_info)`
    const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;
    const PIDFD_INFO_PID: u64 = 1;
    let pidfd = open(pid, 0)?;
    let mut info = Info { mask: PIDFD_INFO_PID, ..Info::default() };
    // SAFETY: the structure is the kernel's and as long as the request says; it lives across the call.
    cvt(unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) }.into())?;
    Ok(info.ppid.cast_signed())
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
    fn a_process_has_its_parent() {
        match parent(std::process::id().cast_signed()) {
            Ok(parent) => assert_eq!(parent, std::os::unix::process::parent_id().cast_signed()),
            Err(errno) => assert!([libc::EINVAL, libc::ENOTTY].contains(&errno.0), "{errno:?}"),
        }
        assert!(parent(i32::MAX).is_err());
    }

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
