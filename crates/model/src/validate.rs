//! Checks that every reference inside a tree leads somewhere. A checkpoint is input from outside:
//! after this the rest of the program trusts the tree.

use std::collections::BTreeSet;

use crate::{
    Backing, FileId, FileKind, InetSocket, Invalid, Live, NamespaceKind, NsPid, PAGE_SIZE, Process,
    Remap, SeccompMode, Tree, invalid::check,
};

/// End of the user half of the address space (47 bits).
const USER_END: u64 = 0x7fff_ffff_f000;

impl Tree {
    /// Checks the tree.
    ///
    /// # Errors
    /// The first contradiction found, in words.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut seen = BTreeSet::new();
        for (index, process) in self.processes.iter().enumerate() {
            check(process.parent.is_none() == (index == 0), || {
                format!("process {} has no parent, or the root has one", process.pid)
            })?;
            check(process.parent.is_none_or(|parent| seen.contains(&parent)), || {
                format!("the parent of process {} does not come before it", process.pid)
            })?;
            check(process.pid.0 > 0 && process.group.0 > 0 && process.session.0 >= 0, || {
                format!("process {} has ids that cannot be", process.pid)
            })?;
            self.validate_ids(process, &mut seen)?;
            if let Some(live) = process.live() {
                self.validate_live(process.pid, live)?;
            }
        }
        check(!self.processes.is_empty(), || "there are no processes".into())?;
        self.validate_files()?;
        self.validate_system_v()
    }

    fn validate_system_v(&self) -> Result<(), Invalid> {
        let objects = &self.namespaces.system_v;
        check(objects.is_empty() || self.namespaces.owns(NamespaceKind::Ipc), || {
            "there are System V objects, but no IPC namespace of the tree's own".into()
        })?;
        for id in objects.memory.keys() {
            check(!self.segments.contains_key(id), || {
                format!("the segment {id} is System V memory and other memory")
            })?;
        }
        objects.validate()
    }

    fn validate_ids(&self, process: &Process, seen: &mut BTreeSet<NsPid>) -> Result<(), Invalid> {
        let threads = match process.live() {
            Some(live) => live.threads.iter().map(|thread| thread.tid).collect(),
            None => vec![process.pid],
        };
        check(threads.first() == Some(&process.pid), || {
            format!("the first thread of process {} is not its leader", process.pid)
        })?;
        for tid in threads {
            check(tid.0 > 0 && seen.insert(tid), || format!("the id {tid} occurs twice"))?;
        }
        Ok(())
    }

    fn validate_live(&self, pid: NsPid, live: &Live) -> Result<(), Invalid> {
        check(self.tables.contains_key(&live.descriptors), || {
            format!("process {pid} has a descriptor table that is not there")
        })?;
        for file in [live.fs.cwd, live.fs.root, live.memory.executable] {
            self.validate_path(file, || format!("directory or executable of process {pid}"))?;
        }
        for thread in &live.threads {
            if let SeccompMode::Filter { oldest } = thread.seccomp {
                self.validate_chain(oldest)?;
            }
        }
        self.validate_memory(pid, live)
    }

    fn validate_memory(&self, pid: NsPid, live: &Live) -> Result<(), Invalid> {
        let mut end = 0;
        for vma in &live.memory.vmas {
            let at =
                || format!("mapping {:x}-{:x} of process {pid}", vma.range.start, vma.range.end);
            let special = matches!(vma.backing, Backing::Vsyscall);
            check(vma.range.start < vma.range.end, || format!("{} is empty", at()))?;
            check(vma.range.start % PAGE_SIZE == 0 && vma.range.end % PAGE_SIZE == 0, || {
                format!("{} is not page aligned", at())
            })?;
            check(vma.range.start >= end, || format!("{} overlaps another", at()))?;
            check(special || vma.range.end <= USER_END, || format!("{} is out of reach", at()))?;
            end = vma.range.end;
            match &vma.backing {
                Backing::FilePrivate { file, .. } | Backing::FileShared { file, .. } => {
                    self.validate_path(*file, at)?;
                }
                Backing::MemfdPrivate { file, .. } | Backing::MemfdShared { file, .. } => {
                    let open = self.files.get(file);
                    check(
                        open.is_some_and(|open| matches!(open.kind, FileKind::Memfd(_))),
                        || format!("{} maps a memfd that is not there", at()),
                    )?;
                }
                Backing::SegmentShared { segment, .. } => {
                    check(self.segments.contains_key(segment), || {
                        format!("{} maps a segment that is not there", at())
                    })?;
                }
                Backing::SystemV { segment, offset, .. } => {
                    let memory = self.namespaces.system_v.memory.get(segment);
                    let end = offset.checked_add(vma.len_bytes());
                    let is_inside = memory.zip(end).is_some_and(|(memory, end)| {
                        offset % PAGE_SIZE == 0 && end <= memory.len_bytes()
                    });
                    check(is_inside, || format!("{} maps memory that is not there", at()))?;
                }
                Backing::AnonymousPrivate
                | Backing::Heap
                | Backing::Droppable
                | Backing::Vdso
                | Backing::Vvar
                | Backing::Vsyscall
                | Backing::AioRing => {}
            }
        }
        for guard in &live.memory.guards {
            check(guard.start < guard.end && guard.end <= USER_END, || {
                format!("guard range {:x}-{:x} of process {pid} cannot be", guard.start, guard.end)
            })?;
        }
        Ok(())
    }

    fn validate_chain(&self, oldest: usize) -> Result<(), Invalid> {
        let mut next = Some(oldest);
        for _ in 0..=self.seccomp_filters.len() {
            let Some(index) = next else { return Ok(()) };
            let filter = self
                .seccomp_filters
                .get(index)
                .ok_or_else(|| Invalid(format!("seccomp filter {index} is not there")))?;
            next = filter.next_newer;
        }
        Err(Invalid("a chain of seccomp filters goes round in a circle".into()))
    }

    fn validate_files(&self) -> Result<(), Invalid> {
        for table in self.tables.values() {
            for (fd, descriptor) in &table.descriptors {
                check(fd.0 >= 0, || format!("descriptor {fd} is negative"))?;
                check(self.files.contains_key(&descriptor.file), || {
                    format!(
                        "descriptor {fd} refers to file {}, which is not there",
                        descriptor.file
                    )
                })?;
            }
        }
        for (id, file) in &self.files {
            match &file.kind {
                FileKind::Path(path) => match path.remap {
                    Some(Remap::Ghost(ghost)) => check(self.ghosts.contains_key(&ghost), || {
                        format!("file {id} needs ghost {ghost}, which is not there")
                    })?,
                    Some(Remap::Linked(other)) => {
                        self.validate_path(other, || format!("the link of file {id}"))?;
                    }
                    Some(Remap::DeadProcess(_)) | None => {}
                },
                FileKind::Memfd(memfd) => {
                    check(self.segments.contains_key(&memfd.segment), || {
                        format!("memfd {id} needs segment {}, which is not there", memfd.segment)
                    })?
                }
                FileKind::Terminal(file) => {
                    check(self.terminals.contains_key(&file.terminal), || {
                        format!("file {id} needs terminal {}, which is not there", file.terminal)
                    })?
                }
                FileKind::Inet(socket) => socket.validate(*id)?,
                FileKind::Pipe(_)
                | FileKind::Fifo(_)
                | FileKind::Eventfd(_)
                | FileKind::Epoll(_)
                | FileKind::Timerfd(_)
                | FileKind::Signalfd(_)
                | FileKind::Inotify(_)
                | FileKind::Unix(_)
                | FileKind::Namespace { .. }
                | FileKind::Pidfd { .. } => {}
            }
        }
        for packet in &self.packets {
            let receiver = self.files.get(&packet.receiver);
            check(receiver.is_some_and(|file| matches!(file.kind, FileKind::Unix(_))), || {
                format!("a message is queued for file {}, which is no unix socket", packet.receiver)
            })?;
            for file in &packet.ancillary.files {
                check(self.files.contains_key(file), || {
                    format!("a message carries file {file}, which is not there")
                })?;
            }
        }
        Ok(())
    }

    fn validate_path(&self, file: FileId, what: impl Fn() -> String) -> Result<(), Invalid> {
        let open = self.files.get(&file);
        check(open.is_some_and(|open| matches!(open.kind, FileKind::Path(_))), || {
            format!("{} refers to file {file}, which is no path", what())
        })
    }
}

/// Largest shift of a window (RFC 7323, 2.3).
const MAX_WINDOW_SCALE: u8 = 14;

impl InetSocket {
    fn validate(&self, id: FileId) -> Result<(), Invalid> {
        let Some(connection) = &self.connection else { return Ok(()) };
        check(self.is_connection(), || format!("socket {id} has a connection without a peer"))?;
        check(connection.unsent_bytes <= connection.outgoing_bytes, || {
            format!("more of the send queue of socket {id} was not sent than there is in it")
        })?;
        check(
            connection
                .window_scale
                .is_none_or(|(send, receive)| send.max(receive) <= MAX_WINDOW_SCALE),
            || format!("the window of socket {id} is scaled by more than {MAX_WINDOW_SCALE} bits"),
        )
    }
}
