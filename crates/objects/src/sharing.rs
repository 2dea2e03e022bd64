//! What tasks share, or do not share, besides what makes them threads or processes (clone(2),
//! unshare(2)). None of it can be kept, so it is found by kcmp(2) and refused by name.

use std::{
    cmp::Ordering,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use stasis_model::{NamespaceKind, Obstacle, Standing, Subject};
use stasis_sys::{
    Errno,
    kcmp::{self, Kind},
    pidfd,
};
use stasis_tracee::ProcDir;

use crate::error::{Error, Result};

/// Between whom is looked for what is shared or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Processes,
    ProcessesAndThreads,
}

/// Tells what stands in the way, without touching anybody; tasks that end meanwhile are passed over.
pub fn obstacles<'a>(
    procs: impl IntoIterator<Item = &'a ProcDir>,
    between: Between,
) -> Result<Vec<Obstacle>> {
    let mut obstacles = Vec::new();
    let (mut by_memory, mut by_context) = (Sorted::new(Kind::Memory), Sorted::new(Kind::FsContext));
    for proc in procs {
        let Ok(stat) = proc.stat() else { continue };
        let nr_threads = proc.nr_threads().unwrap_or_default();
        let name = String::from_utf8_lossy(&stat.name).into_owned();
        let subject = Subject::Task { pid: proc.pid(), name };
        let lasting = |reason| Obstacle::lasting(subject.clone(), reason, None);
        if stat.state == b'Z' {
            if nr_threads > 1 {
                obstacles.push(lasting("its main thread has ended while others live on".into()));
            }
            continue;
        }
        if let Some(other) = by_memory.insert(proc.pid())? {
            let what = "CLONE_VM, as in vfork(2)";
            let found = lasting(format!("shares its memory with process {other} ({what})"));
            obstacles.push(Obstacle { stands: Standing::Passing, ..found });
        } else if let Some(other) = by_context.insert(proc.pid())? {
            let what = "its working directory, root and umask";
            obstacles.push(lasting(format!("shares {what} with process {other} (CLONE_FS)")));
        }
        if between == Between::Processes || nr_threads == 1 {
            continue;
        }
        let threads = proc.threads().unwrap_or_default();
        let namespaces = Namespaces::of(proc);
        let others = threads.iter().filter(|tid| **tid != proc.pid());
        let apart = others.map(|tid| apart(proc, *tid, &namespaces)).collect::<Result<Vec<_>>>()?;
        obstacles.extend(apart.into_iter().flatten().map(lasting));
    }
    Ok(obstacles)
}

/// What a thread has for itself that threads normally share.
fn apart(proc: &ProcDir, tid: i32, namespaces: &Namespaces) -> Result<Option<String>> {
    let differs =
        |kind| compare((proc.pid(), tid), kind).map(|order| order.is_some_and(Ordering::is_ne));
    if differs(Kind::DescriptorTable)? {
        return Ok(Some(format!(
            "its thread {tid} has a descriptor table of its own (CLONE_FILES)"
        )));
    }
    if differs(Kind::FsContext)? {
        let what = "a working directory, root and umask";
        return Ok(Some(format!("its thread {tid} has {what} of its own (CLONE_FS)")));
    }
    Ok(namespaces
        .left_by(proc, tid)
        .map(|kind| format!("its thread {tid} is in a {} namespace of its own", kind.proc_name())))
}

/// The namespaces of a process that a thread can leave alone; those of mounts come with a directory of its own.
struct Namespaces {
    links: Vec<(NamespaceKind, PathBuf)>,
    opened: Option<Opened>,
}

impl Namespaces {
    fn of(proc: &ProcDir) -> Self {
        use NamespaceKind::{Cgroup, Ipc, Net, Uts};
        let kinds = [Net, Ipc, Uts, Cgroup];
        let link = |kind: NamespaceKind| {
            Some((kind, proc.read_link(format!("ns/{}", kind.proc_name())).ok()?))
        };
        let links = kinds.into_iter().filter_map(link).collect();
        Namespaces { links, opened: Opened::of(proc.pid()) }
    }

    /// Which of them a thread has left.
    fn left_by(&self, proc: &ProcDir, tid: i32) -> Option<NamespaceKind> {
        // Only where this way is open, and tells that all are the same, the links need not be read.
        let is_same = |of_process: &Opened| {
            Opened::of(tid).is_some_and(|of_thread| of_thread.inodes == of_process.inodes)
        };
        if self.opened.as_ref().is_some_and(is_same) {
            return None;
        }
        let is_elsewhere = |(kind, of_process): &&(NamespaceKind, PathBuf)| {
            let of_thread = proc.read_link(format!("task/{tid}/ns/{}", kind.proc_name()));
            of_thread.is_ok_and(|of_thread| of_thread != *of_process)
        };
        self.links.iter().find(is_elsewhere).map(|(kind, _)| *kind)
    }
}

/// The namespaces of a thread, if the kernel gives them by descriptor. As long as those of the process are open, the
/// kernel need not make the same files again for each of its threads.
struct Opened {
    inodes: [u64; 4],
    _files: [OwnedFd; 4],
}

impl Opened {
    fn of(tid: i32) -> Option<Self> {
        use pidfd::Namespace::{Cgroup, Ipc, Net, Uts};
        let thread = pidfd::open_thread(tid).ok()?;
        let open = |kind| pidfd::namespace(thread.as_fd(), kind).ok();
        let files = [open(Net)?, open(Ipc)?, open(Uts)?, open(Cgroup)?];
        let mut inodes = [0; 4];
        for (inode, file) in inodes.iter_mut().zip(&files) {
            *inode = rustix::fs::fstat(file).ok()?.st_ino;
        }
        Some(Opened { inodes, _files: files })
    }
}

/// Processes in the order that kcmp(2) gives their objects of one kind.
struct Sorted {
    kind: Kind,
    pids: Vec<i32>,
}

impl Sorted {
    fn new(kind: Kind) -> Self {
        Sorted { kind, pids: Vec::new() }
    }

    /// Adds a process, unless another one has the same object, which is told.
    fn insert(&mut self, pid: i32) -> Result<Option<i32>> {
        let mut failure = None;
        let place = self.pids.binary_search_by(|other| match compare((*other, pid), self.kind) {
            // One that has ended stands where it stood.
            Ok(order) => order.unwrap_or(Ordering::Less),
            Err(error) => {
                failure = Some(error);
                Ordering::Less
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        match place {
            Ok(at) => Ok(Some(self.pids[at])),
            Err(at) => {
                self.pids.insert(at, pid);
                Ok(None)
            }
        }
    }
}

/// `None` if one of the two has ended.
fn compare(pids: (i32, i32), kind: Kind) -> Result<Option<Ordering>> {
    match kcmp::compare(pids, kind, (0, 0)) {
        Ok(order) => Ok(Some(order)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(Error::at(format!("task {}", pids.1), "kcmp")(errno)),
    }
}
