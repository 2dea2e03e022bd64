//! Trees made from arbitrary words: every list of words gives a tree that is valid and that the
//! format can hold; fewer and smaller words give a simpler one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use stasis_files::{Facts, IdMap, IpcSysctls, SecurityModule};
use stasis_model::*;

/// Hands out one word after the other; when they are used up, zeros.
pub struct Draw<'a>(pub std::slice::Iter<'a, u64>);

impl Draw<'_> {
    fn u64(&mut self) -> u64 {
        self.0.next().copied().unwrap_or(0)
    }

    fn u32(&mut self) -> u32 {
        self.u64() as u32
    }

    fn u16(&mut self) -> u16 {
        self.u64() as u16
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.u64() % bound
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| some(self))
    }

    fn vec<T>(&mut self, max: u64, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(max + 1)).map(|_| item(self)).collect()
    }

    fn bytes(&mut self, max: u64) -> Vec<u8> {
        self.vec(max, |draw| draw.u64() as u8)
    }

    fn words<T: Clone>(&mut self, count: usize, word: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..count).map(|_| word(self)).collect()
    }

    /// All of them or none.
    fn component<T: Clone>(&mut self, count: usize, word: impl Fn(&mut Self) -> T) -> Vec<T> {
        if self.flag() { vec![word(self); count] } else { Vec::new() }
    }

    fn pid(&mut self) -> NsPid {
        NsPid(1 + self.below(0x7fff_fffe) as i32)
    }

    fn time(&mut self) -> Time {
        Time { seconds: self.u64(), nanoseconds: self.below(1_000_000_000) as u32 }
    }

    fn setting(&mut self) -> IntervalTimer {
        IntervalTimer { interval: self.time(), remaining: self.time() }
    }

    /// One with microseconds only.
    fn itimer(&mut self) -> IntervalTimer {
        let mut time =
            || Time { seconds: self.u64(), nanoseconds: self.below(1_000_000) as u32 * 1000 };
        IntervalTimer { interval: time(), remaining: time() }
    }

    fn path(&mut self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt;
        let bytes = [b"/".to_vec(), self.bytes(12)].concat();
        PathBuf::from(std::ffi::OsString::from_vec(bytes))
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

struct Builder<'a, 'b> {
    draw: &'b mut Draw<'a>,
    tree: Tree,
    next_file: u32,
    paths: Vec<FileId>,
    sockets: Vec<FileId>,
    memfds: Vec<FileId>,
    anonymous: Vec<SegmentId>,
    /// Of System V, with their sizes in whole pages.
    attachable: Vec<(SegmentId, u64)>,
}

/// Makes a tree and the facts that go with it.
pub fn tree(words: &[u64]) -> (Tree, Facts) {
    let mut draw = Draw(words.iter());
    let mut builder = Builder {
        draw: &mut draw,
        tree: Tree::default(),
        next_file: 1,
        paths: Vec::new(),
        sockets: Vec::new(),
        memfds: Vec::new(),
        anonymous: Vec::new(),
        attachable: Vec::new(),
    };
    builder.ghosts();
    builder.segments();
    builder.system_v();
    builder.terminals();
    builder.files();
    builder.filters();
    builder.tables();
    builder.processes();
    builder.drop_unused_tables();
    builder.rest();
    let facts = builder.namespaces();
    tell_sockets_apart(&mut builder.tree);
    (builder.tree, facts)
}

/// No two sockets have one number, after which the files of their queues are called.
fn tell_sockets_apart(tree: &mut Tree) {
    let mut taken = BTreeSet::new();
    for file in tree.files.values_mut() {
        if let FileKind::Inet(inet) = &mut file.kind {
            while !taken.insert(inet.socket.0) {
                inet.socket.0 = inet.socket.0.wrapping_add(1);
            }
        }
    }
}

impl Builder<'_, '_> {
    fn file_id(&mut self) -> FileId {
        self.next_file += 1 + self.draw.below(3) as u32;
        FileId(self.next_file)
    }

    fn ghosts(&mut self) {
        for _ in 0..self.draw.below(3) {
            let draw = &mut *self.draw;
            let (kind, content) = match draw.below(3) {
                0 => (0o100_000, GhostContent::Regular { size: draw.u64() }),
                1 => (0o120_000, GhostContent::Symlink(draw.path())),
                _ => (0o040_000, GhostContent::None),
            };
            let ghost = GhostFile {
                uid: draw.u32(),
                gid: draw.u32(),
                mode: kind | draw.below(0o10_000) as u32,
                rdev: draw.option(Draw::u32),
                origin: draw.option(|draw| (draw.u32(), draw.u64())),
                times: draw.option(|draw| (draw.u64(), draw.u64())),
                content,
            };
            self.tree.ghosts.insert(GhostId(draw.u32()), ghost);
        }
        // A ghost that no file leads to is not found again.
        for id in self.tree.ghosts.keys().copied().collect::<Vec<_>>() {
            let remap = Some(Remap::Ghost(id));
            let path = PathFile { remap, ..path_file(self.draw) };
            let file = self.file_id();
            self.tree.files.insert(file, open(FileKind::Path(path)));
        }
    }

    fn segments(&mut self) {
        for _ in 0..self.draw.below(4) {
            let draw = &mut *self.draw;
            let memfd = draw.option(|draw| match draw.below(3) {
                0 => b"/dev/zero".to_vec(),
                _ => draw.bytes(8),
            });
            let segment = Segment {
                size: draw.below(1 << 63),
                uid: draw.u32(),
                gid: draw.u32(),
                mode: draw.option(Draw::u32),
                seals: draw.u32(),
                huge_page_shift: draw.option(|draw| draw.below(64) as u8),
                memfd,
            };
            let id = SegmentId(draw.u32().into());
            self.tree.segments.insert(id, segment);
        }
        for (id, segment) in self.tree.segments.clone() {
            if segment.memfd.is_none() {
                self.anonymous.push(id);
                continue;
            }
            let kind = FileKind::Memfd(Memfd { segment: id, position: self.draw.u64() });
            let file = self.file(kind);
            self.memfds.push(file);
        }
    }

    fn system_v(&mut self) {
        let draw = &mut *self.draw;
        let mut objects = SystemV::default();
        for number in 0..draw.below(4) {
            let object = ipc_object(draw, number);
            let id = SegmentId(object.id as u64);
            if !self.tree.segments.contains_key(&id) {
                let memory = SystemVMemory { object, size: 1 + draw.below(1 << 40) };
                self.attachable.push((id, memory.len_bytes()));
                objects.memory.insert(id, memory);
            }
        }
        for number in 0..draw.below(3) {
            objects.semaphores.push(SemaphoreSet {
                object: ipc_object(draw, number),
                values: (0..=draw.below(9)).map(|_| draw.below(32768) as u16).collect(),
                was_operated: draw.flag(),
            });
        }
        for number in 0..draw.below(3) {
            objects.queues.push(MessageQueue {
                object: ipc_object(draw, number),
                limit_bytes: draw.u32(),
                messages: draw.vec(4, |draw| Message {
                    kind: 1 + draw.below(i64::MAX as u64) as i64,
                    text: draw.bytes(20),
                }),
            });
        }
        self.tree.namespaces.system_v = objects;
    }

    fn terminals(&mut self) {
        for number in 0..self.draw.below(3) as u32 {
            let draw = &mut *self.draw;
            let index = draw.u32();
            let (is_master, kind) = match draw.below(7) {
                0 => (1, TerminalKind::PtyMaster { index }),
                1 => (0, TerminalKind::PtySlave { index }),
                2 => (0, TerminalKind::Console),
                3 => (0, TerminalKind::VirtualTerminal),
                4 => (0, TerminalKind::Controlling),
                5 => (0, TerminalKind::External),
                _ => (1, TerminalKind::Serial),
            };
            let terminal = Terminal {
                kind,
                rdev: draw.u32(),
                device: draw.option(Draw::u32),
                owner: draw.option(|draw| (draw.u32(), draw.u32())),
                locked: draw.flag(),
                exclusive: draw.flag(),
                packet_mode: draw.flag(),
                session: draw.option(Draw::pid),
                foreground_group: draw.option(Draw::pid),
                termios: draw.option(termios),
                termios_locked: draw.option(termios),
                window: draw.option(|draw| WindowSize {
                    rows: draw.u16(),
                    columns: draw.u16(),
                    x_pixels: draw.u16(),
                    y_pixels: draw.u16(),
                }),
                input: draw.bytes(20),
            };
            let id = TtyId(number << 1 | is_master);
            self.tree.terminals.insert(id, terminal);
            let (path, path_id) = (path_file(draw), self.file_id());
            self.file(FileKind::Terminal(TerminalFile { terminal: id, path, path_id }));
        }
    }

    fn file(&mut self, kind: FileKind) -> FileId {
        let id = self.file_id();
        let draw = &mut *self.draw;
        let owner = draw.option(|draw| AsyncOwner {
            uid: draw.u32(),
            euid: draw.u32(),
            signal: draw.u32(),
            kind: draw.pick(&[
                AsyncOwnerKind::Thread,
                AsyncOwnerKind::Process,
                AsyncOwnerKind::Group,
            ]),
            id: draw.pid(),
        });
        // The format has no place for the owner of these, which cannot have one.
        let owner = owner.filter(|_| !matches!(kind, FileKind::Namespace { .. }));
        self.tree.files.insert(id, OpenFile { flags: draw.u32(), owner, kind });
        id
    }

    fn files(&mut self) {
        for _ in 0..=self.draw.below(4) {
            let mut path = path_file(self.draw);
            path.remap = match self.draw.below(3) {
                1 => Some(Remap::DeadProcess(self.draw.pid())),
                2 => self.paths.first().map(|link| Remap::Linked(*link)),
                _ => None,
            };
            let id = self.file(FileKind::Path(path));
            self.paths.push(id);
        }
        for _ in 0..self.draw.below(12) {
            let kind = self.kind();
            let is_socket = matches!(kind, FileKind::Unix(_));
            let id = self.file(kind);
            if is_socket {
                self.sockets.push(id);
            }
        }
    }

    fn kind(&mut self) -> FileKind {
        match self.draw.below(11) {
            0 => FileKind::Pipe(PipeEnd { pipe: self.pipe() }),
            1 => {
                let pipe = self.pipe();
                let (path, path_id) = (path_file(self.draw), self.file_id());
                FileKind::Fifo(Fifo { pipe, path, path_id })
            }
            2 => FileKind::Eventfd(Eventfd { count: self.draw.u64(), semaphore: self.draw.flag() }),
            3 => FileKind::Epoll(Epoll { watches: self.draw.vec(3, epoll_watch) }),
            4 => FileKind::Timerfd(Timerfd {
                clock: self.draw.u32() as i32,
                ticks: self.draw.u64(),
                settime_flags: self.draw.u32(),
                setting: self.draw.setting(),
            }),
            5 => FileKind::Signalfd(Signalfd { mask: SignalMask(self.draw.u64()) }),
            6 => FileKind::Inotify(Inotify { watches: self.draw.vec(2, inotify_watch) }),
            7 => FileKind::Unix(unix_socket(self.draw)),
            8 => FileKind::Inet(inet_socket(self.draw)),
            9 => FileKind::Namespace { kind: self.draw.u32(), namespace: self.draw.u32() },
            _ => FileKind::Pidfd { inode: self.draw.u32(), target: self.draw.option(Draw::pid) },
        }
    }

    fn pipe(&mut self) -> PipeId {
        let id = PipeId(self.draw.u32());
        if self.draw.flag() {
            let draw = &mut *self.draw;
            let content = PipeContent {
                data: draw.bytes(20),
                capacity: draw.option(Draw::u32),
                packets: vec![draw.u32(), draw.u32()],
            };
            self.tree.pipes.insert(id, content);
        }
        id
    }

    fn filters(&mut self) {
        let count = self.draw.below(4) as usize;
        for index in 0..count {
            let newer = (index + 1..count).collect::<Vec<_>>();
            let next_newer = if newer.is_empty() || self.draw.flag() {
                None
            } else {
                Some(self.draw.pick(&newer))
            };
            let program = self.draw.words(8 * 2, |draw| draw.u64() as u8);
            let flags = self.draw.u32() & !1;
            self.tree.seccomp_filters.push(SeccompFilter { program, flags, next_newer });
        }
    }

    fn tables(&mut self) {
        for number in 1..=1 + self.draw.below(2) as u32 {
            let mut table = DescriptorTable::default();
            let files: Vec<FileId> = self.tree.files.keys().copied().collect();
            for _ in 0..self.draw.below(8) {
                let fd = FdNumber(self.draw.below(1 << 31) as i32);
                let descriptor =
                    Descriptor { file: self.draw.pick(&files), close_on_exec: self.draw.flag() };
                table.descriptors.insert(fd, descriptor);
            }
            self.tree.tables.insert(TableId(number), table);
        }
    }

    fn processes(&mut self) {
        let mut next = 1;
        let mut pids: Vec<NsPid> = Vec::new();
        for index in 0..=self.draw.below(3) {
            let pid = NsPid(next);
            let parent = if index == 0 { None } else { Some(self.draw.pick(&pids)) };
            let is_zombie = index > 0 && self.draw.flag();
            let name = self.draw.bytes(15);
            let state = if is_zombie {
                State::Zombie { wait_status: self.draw.u32() }
            } else {
                let nr_threads = 1 + self.draw.below(3) as i32;
                let live = Box::new(self.live(next, nr_threads, &name));
                next += nr_threads;
                let stopped_by = self.draw.option(|draw| 1 + draw.below(64) as i32);
                State::Live { live, stopped_by }
            };
            next += 1;
            let (group, session) = (self.draw.pid(), self.draw.pid());
            pids.push(pid);
            self.tree.processes.push(Process { pid, parent, group, session, name, state });
        }
    }

    /// A table that no process has is not found again.
    fn drop_unused_tables(&mut self) {
        let live = self.tree.processes.iter().filter_map(Process::live);
        let used: Vec<TableId> = live.map(|live| live.descriptors).collect();
        self.tree.tables.retain(|id, _| used.contains(id));
    }

    fn live(&mut self, pid: i32, nr_threads: i32, name: &[u8]) -> Live {
        let tables: Vec<TableId> = self.tree.tables.keys().copied().collect();
        let threads = (pid..pid + nr_threads).map(|tid| self.thread(NsPid(tid), name)).collect();
        let memory = self.memory();
        let paths = self.paths.clone();
        let draw = &mut *self.draw;
        let mut signal_actions = [SignalAction::default(); 64];
        for (index, action) in signal_actions.iter_mut().enumerate() {
            if ![9, 19].contains(&(index + 1)) && draw.flag() {
                *action = SignalAction {
                    handler: draw.u64(),
                    flags: draw.u64(),
                    restorer: draw.u64(),
                    mask: SignalMask(draw.u64()),
                };
            }
        }
        Live {
            threads,
            memory,
            fs: FsContext {
                cwd: draw.pick(&paths),
                root: draw.pick(&paths),
                umask: draw.option(Draw::u32),
            },
            descriptors: draw.pick(&tables),
            signal_actions,
            pending: draw.vec(2, pending),
            itimer_real: draw.itimer(),
            itimer_virtual: draw.itimer(),
            itimer_prof: draw.itimer(),
            posix_timers: draw.vec(2, posix_timer),
            limits: draw.vec(16, |draw| Limit { soft: draw.u64(), hard: draw.u64() }),
            personality: draw.u32(),
            kernel_flags: draw.u32(),
            oom_score_adj: draw.option(|draw| draw.below(2001) as i32 - 1000),
            login_uid: draw.option(Draw::u32),
            child_subreaper: draw.flag(),
            membarrier: draw.u32(),
        }
    }

    fn thread(&mut self, tid: NsPid, name: &[u8]) -> Thread {
        let nr_filters = self.tree.seccomp_filters.len() as u64;
        let draw = &mut *self.draw;
        let policy = draw.pick(&[0, 1, 2, 3, 0x4000_0001]);
        let real_time = matches!(policy, 1 | 2 | 0x4000_0001);
        Thread {
            tid,
            name: if draw.flag() { draw.bytes(15) } else { name.to_vec() },
            registers: registers(draw),
            clear_child_tid: draw.u64(),
            blocked: SignalMask(draw.u64()),
            pending: draw.vec(2, pending),
            alt_stack: AltStack { base: draw.u64(), size: draw.u64(), flags: draw.u32() },
            robust_list: RobustList { head: draw.u64(), len: draw.u32() },
            rseq: draw.option(|draw| Rseq {
                address: draw.u64(),
                size: draw.u32(),
                signature: draw.u32(),
                critical_section: draw.option(Draw::u64),
            }),
            scheduling: Scheduling {
                nice: draw.below(40) as i32 - 20,
                policy,
                priority: if real_time { draw.u32() } else { 0 },
                io_priority: draw.option(Draw::u32),
                processors: draw.option(|draw| vec![draw.u64()]),
                timer_slack_ns: draw.option(Draw::u64),
            },
            parent_death_signal: draw.option(|draw| 1 + draw.below(64) as i32),
            credentials: credentials(draw),
            seccomp: match draw.below(3) {
                1 => SeccompMode::Strict,
                2 if nr_filters > 0 => {
                    SeccompMode::Filter { oldest: draw.below(nr_filters) as usize }
                }
                _ => SeccompMode::Disabled,
            },
            interrupted: draw.option(|draw| InterruptedCall {
                number: draw.u64(),
                arguments: std::array::from_fn(|_| draw.u64()),
                remaining: draw.option(|draw| Time::from_nanoseconds(draw.u64())),
            }),
        }
    }

    fn memory(&mut self) -> AddressSpace {
        let mut cursor = 0;
        let mut range = |draw: &mut Draw| {
            let start = cursor + draw.below(1 << 20) * PAGE_SIZE;
            cursor = start + (1 + draw.below(1 << 20)) * PAGE_SIZE;
            start..cursor
        };
        let mut vmas = Vec::new();
        for _ in 0..self.draw.below(10) {
            let range = range(self.draw);
            let backing = self.backing(range.end - range.start);
            let draw = &mut *self.draw;
            vmas.push(Vma {
                range,
                protection: Protection(draw.u32()),
                flags: MapFlags {
                    grows_down: draw.flag(),
                    locked: draw.flag(),
                    locked_on_fault: draw.flag(),
                    no_reserve: draw.flag(),
                    huge_page_shift: draw.option(|draw| draw.below(64) as u8),
                },
                backing,
                advice: draw.u64(),
                name: draw.option(|draw| vec![b'n'; 1 + draw.below(79) as usize]),
                protection_key: draw.below(16) as u8,
            });
        }
        let paths = self.paths.clone();
        let draw = &mut *self.draw;
        AddressSpace {
            layout: Layout {
                code: draw.u64()..draw.u64(),
                data: draw.u64()..draw.u64(),
                stack_start: draw.u64(),
                brk_start: draw.u64(),
                brk: draw.u64(),
                arguments: draw.u64()..draw.u64(),
                environment: draw.u64()..draw.u64(),
                auxv: draw.vec(60, Draw::u64),
            },
            executable: draw.pick(&paths),
            vmas,
            guards: draw.vec(2, &mut range),
            aio_rings: draw.vec(2, |draw| AioRing {
                address: draw.u64(),
                nr_requests: draw.u32(),
                len_bytes: draw.u32(),
            }),
            dumpable: draw.u32() as i32,
            thp_disabled: draw.flag(),
            protection_keys: draw.below(1 << 16) as u16,
        }
    }

    fn backing(&mut self, len: u64) -> Backing {
        let (paths, memfds) = (self.paths.clone(), self.memfds.clone());
        let (anonymous, attachable) = (self.anonymous.clone(), self.attachable.clone());
        let draw = &mut *self.draw;
        let (offset, open_mode) = (draw.u64(), draw.u32());
        match draw.below(13) {
            1 => Backing::Heap,
            2 => Backing::Droppable,
            3 => Backing::FilePrivate { file: draw.pick(&paths), offset, open_mode },
            4 => Backing::FileShared { file: draw.pick(&paths), offset, open_mode },
            5 if !anonymous.is_empty() => {
                Backing::SegmentShared { segment: draw.pick(&anonymous), offset }
            }
            6 if !memfds.is_empty() => {
                Backing::MemfdPrivate { file: draw.pick(&memfds), offset, open_mode }
            }
            7 if !memfds.is_empty() => {
                Backing::MemfdShared { file: draw.pick(&memfds), offset, open_mode }
            }
            8 => Backing::Vdso,
            9 => Backing::Vvar,
            10 => Backing::Vsyscall,
            11 => Backing::AioRing,
            12 if !attachable.is_empty() => {
                let (segment, size) = draw.pick(&attachable);
                match size.checked_sub(len) {
                    Some(room) => {
                        let offset = draw.below(room / PAGE_SIZE + 1) * PAGE_SIZE;
                        Backing::SystemV { segment, offset, open_mode }
                    }
                    None => Backing::AnonymousPrivate,
                }
            }
            _ => Backing::AnonymousPrivate,
        }
    }

    fn rest(&mut self) {
        let files: Vec<FileId> = self.tree.files.keys().copied().collect();
        let sockets = self.sockets.clone();
        let draw = &mut *self.draw;
        if !sockets.is_empty() {
            self.tree.packets = draw.vec(4, |draw| UnixPacket {
                receiver: draw.pick(&sockets),
                data: draw.bytes(20),
                ancillary: Ancillary { files: draw.vec(2, |draw| draw.pick(&files)) },
                sender: draw.option(|draw| draw.bytes(10)),
            });
        }
        self.tree.locks = draw.vec(3, |draw| FileLock {
            kind: draw.u32(),
            lock_type: draw.u32(),
            owner: draw.pid(),
            fd: FdNumber(draw.u32() as i32),
            start: draw.u64() as i64,
            len: draw.u64() as i64,
        });
    }

    fn namespaces(&mut self) -> Facts {
        let draw = &mut *self.draw;
        let system_v = std::mem::take(&mut self.tree.namespaces.system_v);
        let needs = |kind| kind == NamespaceKind::Ipc && !system_v.is_empty();
        let kinds = NamespaceKind::ALL.into_iter();
        let own: Vec<_> = kinds.filter(|kind| draw.below(3) == 2 || needs(*kind)).collect();
        let owns = |kind| own.contains(&kind);
        let facts = Facts {
            run_id: draw.option(|draw| format!("{:x}", draw.u64())),
            uptime_us: draw.option(Draw::u64),
            security_module: draw.pick(&[
                SecurityModule::None,
                SecurityModule::Selinux,
                SecurityModule::Apparmor,
            ]),
            ipc: owns(NamespaceKind::Ipc).then(|| ipc(draw)),
            id_maps: owns(NamespaceKind::User).then(|| (draw.vec(3, id_map), draw.vec(3, id_map))),
            processor: draw.option(processor),
        };
        let clocks =
            draw.option(|draw| ClockReadings { monotonic: draw.time(), boottime: draw.time() });
        self.tree.clocks = clocks.or(owns(NamespaceKind::Time).then(ClockReadings::default));
        let uts = owns(NamespaceKind::Uts)
            .then(|| UtsNames { node: draw.bytes(8), domain: draw.bytes(8) });
        let mounts = match owns(NamespaceKind::Mount) {
            true => (0..=draw.below(4) as u32).map(|device| mount(draw, device)).collect(),
            false => Vec::new(),
        };
        let mut sets: BTreeMap<u32, CgroupSet> = BTreeMap::new();
        for _ in 0..draw.below(3) {
            let set = cgroup_set(draw);
            sets.insert(set.id, set);
        }
        let cgroups = sets.into_values().collect();
        self.tree.namespaces = Namespaces { own, uts, mounts, cgroups, system_v };
        facts
    }
}

fn processor(draw: &mut Draw) -> Processor {
    let nr_words = draw.pick(&[12, 19]);
    Processor {
        vendor: draw.pick(&[Vendor::Other, Vendor::Intel, Vendor::Amd]),
        family: draw.u32(),
        model: draw.u32(),
        stepping: draw.u32(),
        name: format!("{:x}", draw.u64()),
        features: (0..nr_words).map(|_| draw.u32()).collect(),
        more_features: draw.vec(3, Draw::u32),
        components: draw.u64(),
        area_bytes: draw.u32(),
        area_bytes_max: draw.u32(),
    }
}

/// Number and key are other ones than those of lower numbers.
fn ipc_object(draw: &mut Draw, number: u64) -> IpcObject {
    let low = number as i32;
    IpcObject {
        id: (draw.below(1 << 29) as i32) << 2 | low,
        key: if draw.flag() { 0 } else { (draw.u32() << 2) as i32 | low },
        uid: draw.u32(),
        gid: draw.u32(),
        creator_uid: draw.u32(),
        creator_gid: draw.u32(),
        mode: draw.below(1 << 12) as u32,
    }
}

fn open(kind: FileKind) -> OpenFile {
    OpenFile { flags: 0, owner: None, kind }
}

fn path_file(draw: &mut Draw) -> PathFile {
    PathFile {
        path: draw.path(),
        position: draw.option(|draw| draw.below(u64::MAX)),
        size: draw.option(Draw::u64),
        mode: draw.option(Draw::u32),
        build_id: draw.vec(5, Draw::u32),
        mount: draw.option(|draw| draw.below(1 << 31) as i32),
        remap: None,
    }
}

fn termios(draw: &mut Draw) -> Termios {
    Termios {
        input: draw.u32(),
        output: draw.u32(),
        control: draw.u32(),
        local: draw.u32(),
        line: draw.u32(),
        input_speed: draw.u32(),
        output_speed: draw.u32(),
        characters: std::array::from_fn(|_| draw.u64() as u8),
    }
}

fn epoll_watch(draw: &mut Draw) -> EpollWatch {
    EpollWatch {
        fd: FdNumber(draw.below(1 << 31) as i32),
        events: draw.u32(),
        data: draw.u64(),
        target: draw.option(|draw| (draw.u32(), draw.u64(), draw.u64())),
        // Never that of a record that the model does not have.
        file: draw.option(|draw| FileId(draw.u32() | 1 << 31)),
    }
}

fn inotify_watch(draw: &mut Draw) -> InotifyWatch {
    InotifyWatch {
        wd: draw.u32(),
        mask: draw.u32(),
        ignored_mask: draw.u32(),
        inode: draw.u64(),
        device: draw.u32(),
        handle_type: draw.u32(),
        handle: draw.bytes(128),
        path: draw.option(Draw::path),
    }
}

fn options(draw: &mut Draw) -> SocketOptions {
    SocketOptions {
        send_buffer: draw.u32(),
        receive_buffer: draw.u32(),
        send_timeout: (draw.u64(), draw.u64()),
        receive_timeout: (draw.u64(), draw.u64()),
        reuse_address: draw.flag(),
        reuse_port: draw.flag(),
        priority: draw.option(Draw::u32),
        receive_low_water: draw.option(Draw::u32),
        mark: draw.option(Draw::u32),
        pass_credentials: draw.flag(),
        pass_security: draw.flag(),
        dont_route: draw.flag(),
        no_check: draw.flag(),
        bound_device: draw.option(|draw| draw.bytes(8)),
        filter: draw.vec(4, Draw::u64),
        broadcast: draw.flag(),
        keep_alive: draw.flag(),
        out_of_band_inline: draw.option(Draw::u32),
        linger: draw.option(Draw::u32),
        buffer_lock: draw.option(Draw::u32),
        further: draw.option(Draw::u32).into_iter().map(further_option).collect(),
    }
}

fn unix_socket(draw: &mut Draw) -> UnixSocket {
    UnixSocket {
        socket: SocketId(draw.u32()),
        socket_type: draw.u32(),
        state: SocketState::from_number(draw.u32()),
        backlog: draw.u32(),
        peer: draw.option(|draw| SocketId(draw.u32().max(1))),
        options: options(draw),
        name: draw.option(|draw| UnixName {
            bytes: [draw.bytes(107), vec![0]].concat(),
            directory: draw.option(Draw::path),
            deleted: draw.flag(),
            permissions: draw.option(|draw| (draw.u32(), draw.u32(), draw.u32())),
        }),
        shutdown: draw.below(4) as u32,
        foreign_flags: draw.u32(),
    }
}

fn inet_socket(draw: &mut Draw) -> InetSocket {
    let (family, len) = draw.pick(&[(2, 4), (10, 16)]);
    let stream = draw.flag();
    let connection = if stream { draw.option(tcp_connection) } else { None };
    let address = |draw: &mut Draw| draw.words(len, |draw| draw.u64() as u8);
    InetSocket {
        socket: SocketId(draw.u32()),
        family,
        socket_type: if stream { 1 } else { 2 },
        protocol: draw.u32(),
        state: match (stream, draw.flag()) {
            _ if connection.is_some() => {
                SocketState::from_number(draw.pick(&[1, 2, 4, 5, 7, 8, 9, 11]))
            }
            (true, true) => SocketState::Listening,
            (false, true) => SocketState::Established,
            _ => SocketState::Closed,
        },
        local_port: draw.u16(),
        remote_port: match stream {
            true if connection.is_some() => draw.u16().max(1),
            true => 0,
            false => draw.u16(),
        },
        local_address: address(draw),
        remote_address: address(draw),
        backlog: draw.u32(),
        options: options(draw),
        v6_only: family == 10 && draw.flag(),
        ip: IpOptions {
            freebind: draw.flag(),
            packet_info: draw.flag(),
            tos: draw.option(Draw::u32),
            ttl: draw.option(Draw::u32),
        },
        tcp: draw.option(|draw| TcpOptions {
            cork: draw.flag(),
            no_delay: draw.flag(),
            keep_count: draw.option(Draw::u32),
            keep_idle: draw.option(Draw::u32),
            keep_interval: draw.option(Draw::u32),
        }),
        interface: draw.option(|draw| draw.bytes(8)),
        shutdown: draw.below(4) as u32,
        connection,
    }
}

/// Its queues are empty, since their contents are not part of a tree.
fn tcp_connection(draw: &mut Draw) -> TcpConnection {
    TcpConnection {
        receive_sequence: draw.u32(),
        send_sequence: draw.u32(),
        received_bytes: 0,
        outgoing_bytes: 0,
        unsent_bytes: 0,
        mss: draw.u32(),
        selective_acks: draw.flag(),
        window_scale: draw.option(|draw| (draw.below(15) as u8, draw.below(15) as u8)),
        timestamp: draw.option(Draw::u32),
        window: draw.option(|draw| TcpWindow {
            snd_wl1: draw.u32(),
            snd_wnd: draw.u32(),
            max_window: draw.u32(),
            rcv_wnd: draw.u32(),
            rcv_wup: draw.u32(),
        }),
    }
}

fn pending(draw: &mut Draw) -> PendingSignal {
    PendingSignal { siginfo: [draw.u64() as u8; SIGINFO_SIZE] }
}

fn posix_timer(draw: &mut Draw) -> PosixTimer {
    PosixTimer {
        id: draw.u32(),
        clock: draw.u32() as i32,
        signal: draw.u32() as i32,
        notify: match draw.below(3) {
            0 => TimerNotify::Process,
            1 => TimerNotify::None,
            _ => TimerNotify::Thread(draw.pid()),
        },
        value: draw.u64(),
        overrun: draw.u32(),
        setting: draw.setting(),
    }
}

fn registers(draw: &mut Draw) -> Registers {
    Registers {
        general: GeneralRegisters {
            r15: draw.u64(),
            ax: draw.u64(),
            orig_ax: draw.u64(),
            ip: draw.u64(),
            sp: draw.u64(),
            flags: draw.u64(),
            fs_base: draw.u64(),
            gs: draw.u64(),
            ..Default::default()
        },
        fpu: FpuState {
            control_word: draw.u16(),
            status_word: draw.u16(),
            tag_word: draw.u16(),
            last_opcode: draw.u16(),
            last_ip: draw.u64(),
            last_dp: draw.u64(),
            mxcsr: draw.u32(),
            mxcsr_mask: draw.u32(),
            st: vec![draw.u32(); 32],
            xmm: vec![draw.u32(); 64],
            extended: draw.option(|draw| XsaveComponents {
                in_use: draw.u64(),
                ymm_high: draw.component(64, Draw::u32),
                bound_registers: draw.component(8, Draw::u64),
                bound_config: draw.component(8, Draw::u64),
                opmask: draw.component(8, Draw::u64),
                zmm_high: draw.component(64, Draw::u64),
                zmm_16_to_31: draw.component(128, Draw::u64),
                pkru: draw.component(2, Draw::u32),
                shadow_stack: draw.option(|draw| (draw.u64(), draw.u64())),
            }),
        },
    }
}

fn credentials(draw: &mut Draw) -> Credentials {
    Credentials {
        uid: draw.u32(),
        euid: draw.u32(),
        suid: draw.u32(),
        fsuid: draw.u32(),
        gid: draw.u32(),
        egid: draw.u32(),
        sgid: draw.u32(),
        fsgid: draw.u32(),
        groups: draw.option(|draw| draw.vec(3, Draw::u32)),
        inheritable: draw.u64(),
        permitted: draw.u64(),
        effective: draw.u64(),
        bounding: draw.u64(),
        ambient: draw.u64(),
        securebits: draw.u32(),
        no_new_privs: draw.flag(),
        lsm_profile: draw.option(|draw| draw.bytes(8)),
    }
}

fn ipc(draw: &mut Draw) -> IpcSysctls {
    IpcSysctls {
        sem: std::array::from_fn(|_| draw.u32()),
        msgmax: draw.u32(),
        shmmax: draw.u64(),
        shmall: draw.u64(),
        queues_max: draw.u32(),
        msg_default: draw.option(Draw::u32),
        msgsize_default: draw.option(Draw::u32),
        ..Default::default()
    }
}

fn id_map(draw: &mut Draw) -> IdMap {
    IdMap { inside: draw.u32(), outside: draw.u32(), count: draw.u32() }
}

fn mount(draw: &mut Draw, device: u32) -> Mount {
    let filesystems: [&[u8]; 6] = [b"tmpfs", b"proc", b"overlay", b"cgroup2", b"ext4", b""];
    let filesystem = draw.pick(&filesystems).to_vec();
    let root = if draw.flag() { b"/".to_vec() } else { [b"/x".to_vec(), draw.bytes(4)].concat() };
    let external = draw.option(|draw| draw.bytes(8));
    let is_whole_tmpfs = filesystem == b"tmpfs" && root == b"/" && external.is_none();
    Mount {
        id: draw.below(1 << 31) as i32,
        parent: draw.below(1 << 31) as i32,
        device,
        root,
        mountpoint: [b"/".to_vec(), draw.bytes(8)].concat(),
        filesystem,
        source: draw.bytes(8),
        flags: draw.u32(),
        superblock_flags: draw.u32(),
        options: draw.bytes(8),
        peer_group: draw.option(|draw| draw.u32().max(1)),
        master_group: draw.option(|draw| draw.u32().max(1)),
        external,
        tmpfs: (is_whole_tmpfs && draw.flag()).then_some(Tmpfs { device }),
    }
}

fn cgroup_set(draw: &mut Draw) -> CgroupSet {
    let mut members = draw.vec(3, |draw| Cgroup {
        controllers: draw.bytes(4),
        path: [b"/".to_vec(), draw.bytes(8)].concat(),
    });
    members.sort_by(|a, b| a.controllers.cmp(&b.controllers));
    CgroupSet { id: draw.u32(), members }
}

fn further_option(number: u32) -> stasis_model::FurtherOption {
    let number = number.cast_signed();
    stasis_model::FurtherOption { level: number % 60, name: number % 100, value: number }
}
