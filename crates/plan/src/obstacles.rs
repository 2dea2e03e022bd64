//! What of a checkpoint cannot be restored, all at once and before anything is made.

use stasis_model::{Backing, FileKind, Obstacle, Subject, Tree};

/// Obstacles of a valid tree.
pub fn obstacles(tree: &Tree) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    for (id, file) in &tree.files {
        if let Some(reason) = unsupported(&file.kind) {
            obstacles.push(obstacle(format!("open file {id}: {reason}")));
        }
    }
    for process in &tree.processes {
        let Some(live) = process.live() else { continue };
        let pid = process.pid;
        for vma in &live.memory.vmas {
            if vma.backing == Backing::AioRing {
                let start = vma.range.start;
                let reason = format!("process {pid}, mapping {start:x}: an asynchronous-I/O ring");
                obstacles.push(obstacle(reason));
            }
        }
    }
    for lock in &tree.locks {
        const LEASE: u32 = 8;
        if lock.kind & LEASE != 0 {
            let (pid, fd) = (lock.owner, lock.fd);
            obstacles.push(obstacle(format!("process {pid}, descriptor {fd}: a lease")));
        }
    }
    obstacles
}

fn unsupported(kind: &FileKind) -> Option<&'static str> {
    match kind {
        FileKind::Path(_)
        | FileKind::Pipe(_)
        | FileKind::Fifo(_)
        | FileKind::Eventfd(_)
        | FileKind::Epoll(_)
        | FileKind::Timerfd(_)
        | FileKind::Signalfd(_)
        | FileKind::Memfd(_)
        | FileKind::Inotify(_)
        | FileKind::Unix(_)
        | FileKind::Inet(_)
        | FileKind::Terminal(_) => None,
        FileKind::Namespace { .. } => Some("namespace file"),
        FileKind::Pidfd { .. } => Some("pidfd"),
    }
}

fn obstacle(reason: String) -> Obstacle {
    Obstacle::lasting(Subject::Tree, reason, None)
}
