//! System V objects (sysvipc(7)), each in an IPC namespace of the program's own.

crate::programs! { "ipc";
    memory_attached
    memory_of_owner
    memory_pieces
    memory_read_only
    memory_removed
    memory_sparse
    memory_unattached
    names
    posix_queue_unopened
    queue
    semaphores
    semaphores_undo
    semaphores_waiting
    sysctls
}

use anyhow::{Context, ensure};

use crate::{program::Verdict, raw};

/// Leaves the namespace that others have too.
fn enter_own_namespace() -> Verdict {
    raw::syscall(libc::SYS_unshare, &[libc::CLONE_NEWIPC as usize])?;
    Ok(())
}

/// A new segment under a key.
fn new_memory(key: usize, len: usize) -> anyhow::Result<usize> {
    let flags = (libc::IPC_CREAT | libc::IPC_EXCL | 0o600) as usize;
    Ok(raw::syscall(libc::SYS_shmget, &[key, len, flags])?)
}

fn attach(id: usize, len: usize, flags: libc::c_int) -> anyhow::Result<raw::Mapping> {
    let addr = raw::syscall(libc::SYS_shmat, &[id, 0, flags as usize])?;
    Ok(raw::Mapping { addr, len: len.next_multiple_of(raw::PAGE) })
}

fn detach(memory: &raw::Mapping) -> Verdict {
    raw::syscall(libc::SYS_shmdt, &[memory.addr])?;
    Ok(())
}

/// The object of a kind (`shm`, `sem`, `msg`) with this identifier, as words of `/proc/sysvipc`
/// without times, pids and memory in use.
fn object(kind: &str, id: usize) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/sysvipc/{kind}"))?;
    let mut lines = text.lines();
    let headings: Vec<&str> = lines.next().context("no headings")?.split_whitespace().collect();
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let found = lines.map(fields).find(|words| words.get(1) == Some(&id.to_string()));
    let lasting = |heading: &&str| !heading.ends_with("time") && !heading.ends_with("pid");
    let lasting = |heading: &&str| lasting(heading) && !matches!(*heading, "rss" | "swap");
    let words = headings.iter().zip(found.context("no such object")?);
    Ok(words.filter(|(heading, _)| lasting(heading)).map(|(_, word)| word).collect())
}

/// Checks that an object looks as before.
fn same(kind: &str, id: usize, before: &[String]) -> Verdict {
    let now = object(kind, id)?;
    ensure!(now == before, "{kind} {id} was {before:?} and is {now:?}");
    Ok(())
}

/// What one of the namespace's sysctls says.
fn sysctl(name: &str) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(format!("/proc/sys/{name}"))?.trim().to_owned())
}
