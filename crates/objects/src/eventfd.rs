//! eventfd(2): a 64-bit counter behind a descriptor.
//!
//! Frozen from fdinfo (proc_pid_fdinfo(5)); read(2) would reset the counter. Semaphore mode is not among
//! the `F_GETFL` flags, and kernels before 6.5 do not print it: then it is a loss.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::EventfdFlags;
use stasis_model::{Eventfd, FileKind, OpenFile};

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd},
};

pub fn freeze(open: &OpenFd, gathering: &mut Gathering) -> Result<FileKind> {
    let info = stasis_proctext::fdinfo::eventfd(&open.info).map_err(|malformed| {
        Error::Unsupported { object: open.what(), reason: malformed.to_string() }
    })?;
    if info.semaphore.is_none() {
        gathering
            .loss(open.subject(), "whether it is in semaphore mode (the kernel does not tell)");
    }
    Ok(FileKind::Eventfd(Eventfd { count: info.count, semaphore: info.semaphore.unwrap_or(false) }))
}

pub fn thaw(eventfd: &Eventfd, file: &OpenFile) -> Result<OwnedFd> {
    let what = "eventfd";
    let mut flags = EventfdFlags::CLOEXEC;
    if eventfd.semaphore {
        flags |= EventfdFlags::SEMAPHORE;
    }
    // The initial value is 32 bits wide, the counter 64: create empty, then add the count.
    let made = rustix::event::eventfd(0, flags).map_err(Error::at(what, "eventfd2"))?;
    if eventfd.count != 0 {
        if eventfd.count == u64::MAX {
            return Err(Error::Unsupported {
                object: what.into(),
                reason: "its count overflows".into(),
            });
        }
        rustix::io::write(&made, &eventfd.count.to_ne_bytes()).map_err(Error::at(what, "write"))?;
    }
    stasis_sys::fcntl::set_status_flags(made.as_fd(), file.flags)
        .map_err(Error::at(what, "F_SETFL"))?;
    Ok(made)
}
