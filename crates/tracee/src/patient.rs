//! A process under checkpoint: stopped, inspected, and let go as it was.

use std::{
    collections::HashSet,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rustix::fs::OFlags;
use stasis_proctext::{maps::Mapping, stat::Stat, status::Status};
use stasis_sys::{
    memory::RemoteRange,
    ptrace::{self, Options, UserRegs},
    wait::{self, Whom},
};

use crate::{
    OneThread,
    affinity::{Affinity, SET_LEN},
    bare_call::bare_call,
    batch::{Batch, Outcome},
    error::{Error, Result},
    foothold::Slot,
    pidfd,
    procdir::{FEW, ProcDir},
    remote::{self, Piece},
    run::{self, Errand, Runner, libc_signals},
    sigframe,
    slots::OwnSlots,
    stub,
    way_back::{self, Code, Trampolines},
};

/// How a thread stood when we came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    Running,
    /// Stopped by job control with this signal.
    JobControl(i32),
}

/// A stopped thread of a patient.
#[derive(Debug)]
pub struct PatientThread {
    tid: i32,
    kind: StopKind,
    regs: UserRegs,
    xsave: Vec<u8>,
    mask: u64,
    /// Read when all threads stood.
    status: Status,
    runner: Option<Runner>,
}

impl PatientThread {
    /// As the supervisor sees it.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// As the thread itself sees it.
    pub fn own_tid(&self) -> i32 {
        self.status.namespace_pids.last().copied().unwrap_or(self.tid)
    }

    /// `/proc/PID/task/TID/status` as it was when all threads of the process had been stopped.
    pub fn status(&self) -> &Status {
        &self.status
    }

    pub fn stop_kind(&self) -> StopKind {
        self.kind
    }

    pub fn registers(&self) -> &UserRegs {
        &self.regs
    }

    /// Changes the registers with which the thread will go on.
    pub fn set_registers(&mut self, regs: UserRegs) {
        self.regs = regs;
    }

    /// Of other threads than the leader it is kept until the foothold is made, which then has it.
    pub fn xsave_area(&self) -> &[u8] {
        &self.xsave
    }

    pub fn signal_mask(&self) -> u64 {
        self.mask
    }

    fn errand<'a>(&'a self, batch: &'a Batch) -> Errand<'a> {
        let runner = self.runner.as_ref().expect("every thread has a slot");
        Errand { runner, template: &self.regs, batch }
    }
}

/// A process whose threads all stand still.
#[derive(Debug)]
pub struct Patient {
    proc: Arc<ProcDir>,
    pidfd: OwnedFd,
    stat: Stat,
    threads: Vec<PatientThread>,
    foothold: Option<Foothold>,
    trampolines: Trampolines,
    /// Where the leader is to stay.
    processor: Option<usize>,
    /// What the leader may use by itself, if it is kept there.
    held: Option<Affinity>,
    late_signals: Vec<i32>,
    released: bool,
    _one_thread: OneThread,
}

#[derive(Clone, Copy, Debug)]
struct Foothold {
    base: u64,
    len: u64,
    bare: Bare,
}

/// How the leader makes single calls.
#[derive(Clone, Copy, Debug)]
struct Bare {
    /// A `syscall` instruction of the patient's own.
    instruction: u64,
    /// Its registers, but for the stack pointer if there is a way back.
    template: UserRegs,
    finds_back: bool,
}

impl Patient {
    /// Stops all threads of a process.
    ///
    /// # Errors
    /// [`Error::Died`] if it is gone or a zombie, [`Error::Stuck`] if a thread does not stop (then the
    /// others run on).
    ///
    /// # Effect on the tracee
    /// System calls that wait are interrupted and go on when it is let go.
    pub fn stop(pid: i32) -> Result<Self> {
        Self::stop_with(ProcDir::open(pid)?, &Trampolines::default())
    }

    pub(crate) fn stop_with(proc: ProcDir, trampolines: &Trampolines) -> Result<Self> {
        let pid = proc.pid();
        let pidfd = pidfd::open(pid)?;
        let mut patient = Patient {
            proc: Arc::new(proc),
            pidfd,
            stat: Stat::default(),
            threads: Vec::new(),
            foothold: None,
            trampolines: Trampolines::clone(trampolines),
            processor: None,
            held: None,
            late_signals: Vec::new(),
            released: false,
            _one_thread: OneThread::default(),
        };
        patient.stop_threads()?;
        patient.read_texts()?;
        Ok(patient)
    }

    /// Reads what the kernel tells of those who stand.
    fn read_texts(&mut self) -> Result<()> {
        let proc = &self.proc;
        self.stat = proc.stat()?;
        let tids: Vec<i32> = self.threads.iter().map(PatientThread::tid).collect();
        let read = |tid: &i32| proc.thread_status(*tid);
        let statuses: Result<Vec<Status>> = match tids.len() {
            1 => proc.status().map(|status| vec![status]),
            ..FEW => tids.iter().map(read).collect(),
            _ => tids.par_iter().map(read).collect(),
        };
        for (thread, status) in self.threads.iter_mut().zip(statuses?) {
            thread.status = status;
        }
        Ok(())
    }

    pub fn pid(&self) -> i32 {
        self.proc.pid()
    }

    /// The pid as the process itself sees it.
    pub fn own_pid(&self) -> i32 {
        self.leader().own_tid()
    }

    /// The parent as the supervisor sees it.
    pub fn parent(&self) -> i32 {
        self.stat.parent
    }

    /// `/proc/PID/stat` as it was when all threads had been stopped.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The same for `/proc/PID/status`.
    pub fn status(&self) -> &Status {
        &self.leader().status
    }

    pub fn proc(&self) -> &ProcDir {
        &self.proc
    }

    /// The same for another thread, which may read there.
    pub fn shared_proc(&self) -> Arc<ProcDir> {
        Arc::clone(&self.proc)
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Leader first, then by thread id.
    pub fn threads(&self) -> &[PatientThread] {
        &self.threads
    }

    pub fn leader(&self) -> &PatientThread {
        &self.threads[0]
    }

    pub fn thread_mut(&mut self, index: usize) -> &mut PatientThread {
        &mut self.threads[index]
    }

    /// Keeps the leader on one processor from its first batch until it is let go, if it then finds its way
    /// back to its own should we die.
    pub fn stay_on(&mut self, processor: usize) {
        self.processor = Some(processor);
    }

    /// A second descriptor for the open file behind the patient's descriptor `fd` (pidfd_getfd(2)).
    pub fn take_fd(&self, fd: i32) -> Result<OwnedFd> {
        pidfd::take_fd((self.pid(), &self.pidfd), fd)
    }

    /// Reads memory; fails if any of it cannot be read.
    pub fn read_memory(&self, address: u64, len: usize) -> Result<Vec<u8>> {
        remote::read(self.pid(), address, len)
    }

    /// Reads ranges of memory, one after the other, by as few calls as it takes.
    pub fn read_ranges(&self, ranges: &[RemoteRange]) -> Result<Vec<u8>> {
        remote::read_ranges(self.pid(), ranges)
    }

    /// Writes pieces of memory where there is memory that can be written.
    pub fn try_to_write(&self, pieces: &[Piece]) {
        remote::try_pieces(self.pid(), pieces);
    }

    /// Makes the foothold, for which a batch would have to look at the mappings again.
    pub fn settle(&mut self, mappings: &[Mapping]) -> Result<()> {
        match self.foothold {
            Some(_) => Ok(()),
            None => self.make_foothold(mappings),
        }
    }

    /// Runs one batch in each thread, all at the same time, the leader's first in both lists.
    ///
    /// # Errors
    /// The first failure of the machinery; calls that fail are in the outcomes.
    ///
    /// # Effect on the tracee
    /// One stop. Between batches the thread stands before its way back.
    pub fn run(&mut self, batches: &[&Batch]) -> Result<Vec<Outcome>> {
        assert!(batches.len() <= self.threads.len(), "more batches than threads");
        if self.foothold.is_none() {
            self.make_foothold(&self.proc.maps()?)?;
        }
        let threads = self.threads.iter().zip(batches);
        let errands: Vec<_> = threads.map(|(thread, batch)| thread.errand(batch)).collect();
        run::run_all(&errands, &OwnSlots(self.pid()), &mut self.late_signals)
    }

    /// Runs one batch in the leader.
    pub fn run_in_leader(&mut self, batch: &Batch) -> Result<Outcome> {
        Ok(self.run(&[batch])?.pop().expect("one batch has one outcome"))
    }

    /// Lets the process go on as if nothing had happened.
    ///
    /// # Errors
    /// [`Error::Died`] if it ended meanwhile.
    pub fn resume(mut self) -> Result<()> {
        self.release()
    }

    /// Ends the process: the checkpoint is on disk.
    ///
    /// # Errors
    /// None that matters: a process that is gone is what was asked for.
    pub fn kill(mut self) -> Result<()> {
        self.released = true;
        stasis_sys::process::kill(self.pid(), 9).or_else(|errno| match errno {
            stasis_sys::Errno::SRCH => Ok(()),
            errno => Err(Error::at(self.pid(), "kill")(errno)),
        })
    }

    fn stop_threads(&mut self) -> Result<()> {
        // Who stands neither ends nor makes others.
        while self.proc.nr_threads()? > self.threads.len() {
            let known: HashSet<i32> = self.threads.iter().map(|thread| thread.tid).collect();
            let mut fresh = self.proc.threads()?;
            fresh.retain(|tid| !known.contains(tid));
            if fresh.is_empty() {
                break;
            }
            let mut seized = Vec::new();
            for tid in fresh {
                match seize(tid) {
                    Ok(()) => seized.push(tid),
                    Err(Error::Died { .. }) if tid != self.pid() => {}
                    Err(error) => {
                        self.adopt(&seized)?;
                        return Err(error);
                    }
                }
            }
            self.adopt(&seized)?;
        }
        let pid = self.pid();
        self.threads.sort_by_key(|thread| (thread.tid != pid, thread.tid));
        if self.threads.first().is_none_or(|thread| thread.tid != pid) {
            return Err(Error::Died { pid });
        }
        Ok(())
    }

    /// Waits for threads that were told to stop.
    fn adopt(&mut self, seized: &[i32]) -> Result<()> {
        for &tid in seized {
            let Some(kind) = wait_for_stop(tid, &self.proc)? else { continue };
            let thread = read_thread(tid, kind)?;
            self.threads.push(thread);
        }
        Ok(())
    }

    fn make_foothold(&mut self, mappings: &[Mapping]) -> Result<()> {
        let pid = self.pid();
        let stop_signal = self.choose_stop_signal()?;
        let room = |(index, thread): (usize, &PatientThread)| frame_len(thread) + slot_len(index);
        let total = PAGE + SET_LEN + self.threads.iter().enumerate().map(room).sum::<usize>();
        let total = total.next_multiple_of(PAGE);
        let bare = self.prepare_to_be_held(mappings)?;
        const READ_WRITE: u64 = 3;
        const PRIVATE_ANONYMOUS: u64 = 0x22;
        let mmap = [0, total as u64, READ_WRITE, PRIVATE_ANONYMOUS, u64::MAX, 0];
        let base = match bare_call(pid, &bare.template, bare.instruction, ("mmap", 9), mmap) {
            Ok(base) => base,
            Err(error) => {
                self.leave_syscall_stop(pid)?;
                return Err(error);
            }
        };
        self.foothold = Some(Foothold { base, len: total as u64, bare });
        remote::write(pid, base, stub::CODE)?;
        let code_page = [base, PAGE as u64, 5, 0, 0, 0]; // read, execute
        bare_call(pid, &bare.template, bare.instruction, ("mprotect", 10), code_page)?;
        self.settle_in(base, stop_signal)
    }

    /// Writes the frames and gives each thread its slot.
    fn settle_in(&mut self, base: u64, stop_signal: i32) -> Result<()> {
        let (pid, own_pid) = (self.pid(), self.own_pid());
        let mut address = base + PAGE as u64;
        let (mut ranges, mut bytes) = (Vec::new(), Vec::new());
        if let Some(affinity) = &self.held {
            // Right below the leader's frame, where the stub looks for it.
            ranges.push(RemoteRange { address, len: SET_LEN });
            bytes.extend(affinity.bytes());
            address += SET_LEN as u64;
        }
        for (index, thread) in self.threads.iter_mut().enumerate() {
            let from = bytes.len();
            let context = (&sigframe::restarted(&thread.regs), thread.mask, &*thread.xsave);
            let sp = sigframe::build(address, context, &mut bytes);
            ranges.push(RemoteRange { address, len: bytes.len() - from });
            address += frame_len(thread) as u64;
            let slot = Slot { address, len: slot_len(index) };
            address += slot.len as u64;
            if index > 0 {
                // The state is in the frame by now.
                thread.xsave = Vec::new();
            }
            thread.runner = Some(Runner {
                tid: thread.tid,
                own_ids: (own_pid, thread.own_tid()),
                code: base,
                slot,
                stop_signal,
                frame: sp,
                held: index == 0 && self.held.is_some(),
            });
            // Not more at a time than stays in the processor's cache.
            if ranges.len() >= FRAMES_AT_ONCE {
                remote::write_ranges(pid, &ranges, &bytes)?;
                ranges.clear();
                bytes.clear();
            }
        }
        remote::write_ranges(pid, &ranges, &bytes)
    }

    /// Prepares single calls, and keeps the leader on our processor if that was asked for and nothing is
    /// lost should we die.
    fn prepare_to_be_held(&mut self, mappings: &[Mapping]) -> Result<Bare> {
        let pid = self.pid();
        // A filter might forbid it to take back its own: it is suspended only as long as we live.
        let wanted = self.processor.filter(|_| self.status().seccomp == 0 && self.held.is_none());
        let Some((processor, affinity)) = wanted.zip(Affinity::of(pid)) else {
            return self.prepare_bare_calls(mappings, self.held.as_ref());
        };
        let bare = self.prepare_bare_calls(mappings, Some(&affinity))?;
        if bare.finds_back {
            const GETPID: u64 = 39;
            let (ax, orig_ax, ip) = (GETPID, u64::MAX, bare.instruction);
            let on_its_way = UserRegs { ax, orig_ax, ip, ..bare.template };
            ptrace::set_registers(pid, &on_its_way)
                .and_then(|()| ptrace::set_signal_mask(pid, u64::MAX))
                .map_err(Error::at(pid, "ptrace(SETREGS)"))?;
            self.held = Affinity::hold(pid, processor).then_some(affinity);
        }
        Ok(bare)
    }

    /// Finds out how the leader can make single calls, and lays its way back for the case that we die.
    fn prepare_bare_calls(&self, maps: &[Mapping], affinity: Option<&Affinity>) -> Result<Bare> {
        let leader = self.leader();
        let read = |address, len| self.read_memory(address, len).ok();
        let open = |map: &Mapping| {
            let name = format!("map_files/{:x}-{:x}", map.range.start, map.range.end);
            self.proc.open_file(name, OFlags::RDONLY).ok()
        };
        let vdso = maps.iter().find(|map| map.name == b"[vdso]");
        let returning = vdso.and_then(|map| {
            let len = usize::try_from(map.range.end - map.range.start).ok()?.min(1 << 20);
            let at = way_back::returning_syscall(&read(map.range.start, len)?)?;
            Some(map.range.start + at as u64)
        });
        let laid = returning.and_then(|call| {
            let trampoline = way_back::find_trampoline(maps, &self.trampolines, open, read)?;
            let context = (&leader.regs, leader.mask, &*leader.xsave);
            let way = way_back::build(maps, context, Code { call, trampoline }, affinity)?;
            remote::write(self.pid(), way.sp, &way.bytes).ok()?;
            let template = UserRegs { sp: way.sp, ..leader.regs };
            Some(Bare { instruction: call, template, finds_back: true })
        });
        match laid {
            Some(bare) => Ok(bare),
            // Without a stack of its own or a C library: the time of a single call without a way back.
            None => Ok(Bare {
                instruction: self.find_syscall_instruction(maps)?,
                template: leader.regs,
                finds_back: false,
            }),
        }
    }

    /// A signal that does nothing if we die before taking it away: not caught, and none waiting.
    fn choose_stop_signal(&self) -> Result<i32> {
        let Status { caught, pending, .. } = *self.status();
        let candidates = [libc_signals::URG, libc_signals::WINCH, libc_signals::CHLD];
        let free =
            |taken: u64| candidates.into_iter().find(|signal| taken & (1 << (signal - 1)) == 0);
        free(caught | pending).or_else(|| free(pending)).ok_or_else(|| Error::Bug {
            pid: self.pid(),
            what: "SIGURG, SIGWINCH and SIGCHLD are all waiting".into(),
        })
    }

    /// Address of any `syscall` instruction in the patient.
    fn find_syscall_instruction(&self, maps: &[Mapping]) -> Result<u64> {
        let executable =
            maps.iter().filter(|map| map.protection & 4 != 0 && map.name != b"[vsyscall]");
        let mut candidates: Vec<_> = executable.collect();
        candidates.sort_by_key(|map| map.name != b"[vdso]");
        for map in candidates {
            let len = (map.range.end - map.range.start).min(16 << 20) as usize;
            let Ok(text) = self.read_memory(map.range.start, len) else { continue };
            if let Some(at) = text.windows(2).position(|pair| pair == [0x0f, 0x05]) {
                return Ok(map.range.start + at as u64);
            }
        }
        let what = "no system-call instruction in its memory".into();
        Err(Error::Bug { pid: self.pid(), what })
    }

    /// From a system-call-exit stop to one in which the kernel looks at the registers again, so that it
    /// restarts what we interrupted.
    fn leave_syscall_stop(&self, tid: i32) -> Result<()> {
        ptrace::interrupt(tid).map_err(Error::at(tid, "ptrace(INTERRUPT)"))?;
        ptrace::cont(tid, 0).map_err(Error::at(tid, "ptrace(CONT)"))?;
        match wait::wait(Whom::Thread(tid)).map_err(Error::at(tid, "wait4"))? {
            (_, wait::Status::Stopped { .. }) => Ok(()),
            (_, wait::Status::Ended { .. }) => Err(Error::Died { pid: tid }),
        }
    }

    fn release(&mut self) -> Result<()> {
        if self.released {
            return Ok(());
        }
        self.released = true;
        // The others first: they stand in the foothold, which is about to go.
        let mut result = Ok(());
        for thread in self.threads.iter().skip(1) {
            result = result.and(reset_thread(thread));
        }
        result = result.and(self.remove_foothold());
        if let Some(affinity) = &self.held {
            affinity.give_back(self.proc.pid());
        }
        for thread in self.threads.iter().take(1) {
            result = result.and(reset_thread(thread));
        }
        for thread in &self.threads {
            let detached = ptrace::detach(thread.tid, 0);
            result = result.and(detached.map_err(Error::at(thread.tid, "ptrace(DETACH)")));
        }
        for signal in self.late_signals.drain(..) {
            let sent = stasis_sys::process::kill(self.proc.pid(), signal);
            result = result.and(sent.map_err(Error::at(self.proc.pid(), "kill")));
        }
        result
    }

    fn remove_foothold(&mut self) -> Result<()> {
        let Some(foothold) = self.foothold.take() else { return Ok(()) };
        let pid = self.pid();
        // The way back may have been overwritten since: what lies below a stack is nobody's.
        let maps = self.proc.maps();
        let prepared = maps.and_then(|maps| self.prepare_bare_calls(&maps, self.held.as_ref()));
        let bare = prepared.unwrap_or(foothold.bare);
        let range = [foothold.base, foothold.len, 0, 0, 0, 0];
        let removed = bare_call(pid, &bare.template, bare.instruction, ("munmap", 11), range);
        removed.map(drop).and(self.leave_syscall_stop(pid))
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        // The net under `resume`: there is nobody left to tell of a failure.
        let _ = self.release();
    }
}

const PAGE: usize = 4096;
const FRAMES_AT_ONCE: usize = 64;

/// Room for a thread's way back; its slot follows, and both fit a page as a rule.
fn frame_len(thread: &PatientThread) -> usize {
    sigframe::len_bytes(thread.xsave.len()).next_multiple_of(64)
}

/// Only the leader is asked for what concerns the whole process.
fn slot_len(index: usize) -> usize {
    if index == 0 { 64 * PAGE } else { 960 }
}

fn seize(tid: i32) -> Result<()> {
    let options = Options::SYSCALL_GOOD.and(Options::SUSPEND_SECCOMP);
    let seized = ptrace::seize(tid, options).or_else(|errno| match errno {
        // Without the right to suspend filters we can still work on tasks that have none.
        stasis_sys::Errno::PERM => ptrace::seize(tid, Options::SYSCALL_GOOD),
        errno => Err(errno),
    });
    seized.map_err(Error::at(tid, "ptrace(SEIZE)"))?;
    ptrace::interrupt(tid).map_err(Error::at(tid, "ptrace(INTERRUPT)"))
}

/// `None` if the thread ended instead.
fn wait_for_stop(tid: i32, proc: &ProcDir) -> Result<Option<StopKind>> {
    const SECONDS: u64 = 10;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(SECONDS);
    let mut spins = 0u32;
    loop {
        let polled = match wait::poll(Whom::Thread(tid)) {
            Err(stasis_sys::Errno::CHILD) => return Ok(None),
            polled => polled.map_err(Error::at(tid, "wait4"))?,
        };
        match polled {
            Some((_, wait::Status::Ended { .. })) => return Ok(None),
            Some((_, wait::Status::Stopped { signal, event: wait::EVENT_STOP })) => {
                let by_us = signal == 5;
                return Ok(Some(if by_us {
                    StopKind::Running
                } else {
                    StopKind::JobControl(signal)
                }));
            }
            // A signal on its way: hand it back and go on waiting for our stop.
            Some((_, wait::Status::Stopped { signal, .. })) => {
                ptrace::cont(tid, signal).map_err(Error::at(tid, "ptrace(CONT)"))?;
            }
            None if std::time::Instant::now() > deadline => {
                let state = proc
                    .parse(format!("task/{tid}/stat"), stasis_proctext::stat::parse)
                    .map_or_else(
                        |_| "unknown state".into(),
                        |stat| format!("state {}", char::from(stat.state)),
                    );
                return Err(Error::Stuck { pid: tid, seconds: SECONDS, state });
            }
            None if spins < 200 => {
                spins += 1;
                std::thread::yield_now();
            }
            None => std::thread::sleep(std::time::Duration::from_micros(100)),
        }
    }
}

fn read_thread(tid: i32, kind: StopKind) -> Result<PatientThread> {
    Ok(PatientThread {
        tid,
        kind,
        regs: ptrace::registers(tid).map_err(Error::at(tid, "ptrace(GETREGS)"))?,
        xsave: ptrace::xsave_area_in_use(tid).map_err(Error::at(tid, "ptrace(GETREGSET)"))?,
        mask: ptrace::signal_mask(tid).map_err(Error::at(tid, "ptrace(GETSIGMASK)"))?,
        status: Status::default(),
        runner: None,
    })
}

fn reset_thread(thread: &PatientThread) -> Result<()> {
    let tid = thread.tid;
    // As long as the registers are not the thread's own they lead to its way back, which sets the mask
    // as well; the other way round it would go on with ours if we died in between.
    ptrace::set_signal_mask(tid, thread.mask)
        .and_then(|()| ptrace::set_registers(tid, &thread.regs))
        .map_err(Error::at(tid, "ptrace(SETREGS)"))
}
