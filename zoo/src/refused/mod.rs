//! What cannot be frozen (yet) and must be refused by name.

crate::programs! { "refused";
    block_device
    bpf_map
    io_uring
    kernel_keyring
    message_queue
    namespace_of_thread
    nested_mount_namespace
    nested_network_namespace
    nested_other_namespaces
    nested_pid_namespace
    nested_user_namespace
    perf_event
    pipe_to_outside
    shared_handlers_child
    shared_ipc_namespace
    shared_memory_child
    socket_to_outside
    tracer
    userfaultfd
    watched_from_outside
}

use std::fs;

use anyhow::ensure;

use crate::{program::Verdict, raw, stage::Stage};

/// A child in new namespaces that checks that it stays there.
fn in_namespace(stage: &Stage, flags: i32, name: &str) -> Verdict {
    let child = raw::clone(stage, flags, |stage| {
        // proc of the outer pid namespace shows us under our outer pid only, so look by `self`,
        // which a child in a pid namespace does not have there: then only its pid can be checked.
        let path = format!("/proc/self/ns/{name}");
        let look = || (fs::read_link(&path).ok(), raw::getpid());
        let before = look();
        stage.mark("child")?;
        stage.wait_for_go()?;
        ensure!(look() == before, "in {:?} instead of {before:?}", look());
        Ok(())
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    child.join(stage)
}

/// A userfaultfd(2) that watches memory for pages that are missing.
fn watch(memory: &raw::Mapping) -> anyhow::Result<usize> {
    const UFFDIO_API: usize = 0xc018_aa3f;
    const UFFDIO_REGISTER: usize = 0xc020_aa00;
    let fd = raw::syscall(libc::SYS_userfaultfd, &[libc::O_NONBLOCK as usize])?;
    let mut api = [0xaa_u64, 0, 0];
    raw::syscall(libc::SYS_ioctl, &[fd, UFFDIO_API, raw::into(&mut api)])?;
    let mut register = [memory.addr as u64, memory.len as u64, 1, 0];
    raw::syscall(libc::SYS_ioctl, &[fd, UFFDIO_REGISTER, raw::into(&mut register)])?;
    Ok(fd)
}

/// A process that does not belong to the tree: its parent ends, so that it is adopted from outside.
fn outside(stage: &Stage, body: impl FnOnce(&Stage) -> Verdict) -> Verdict {
    let middle = raw::fork(stage, |stage| {
        raw::fork(stage, |stage| {
            stage.mark("outside")?;
            body(stage)
        })?;
        Ok(())
    })?;
    middle.join(stage)?;
    stage.wait_for("outside")
}
