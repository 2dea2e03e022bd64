//! A process under checkpoint: stopped, inspected, and let go as it was.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::OFlags,
    process::{Pid, PidfdFlags, PidfdGetfdFlags},
};
use stasis_proctext::maps::Mapping;
use stasis_sys::{
    memory::{self, RemoteRange},
    ptrace::{self, Options, UserRegs},
    wait::{self, Status, Whom},
};

use crate::{
    OneThread,
    bare_call::bare_call,
    batch::{Batch, Outcome},
    error::{Error, Result},
    foothold::Slot,
    procdir::ProcDir,
    run::{Runner, libc_signals},
    sigframe, stub,
    way_back::{self, Trampolines},
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
    own_tid: i32,
    kind: StopKind,
    regs: UserRegs,
    xsave: Vec<u8>,
    mask: u64,
    runner: Option<Runner>,
}

impl PatientThread {
    /// As the supervisor sees it.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// As the thread itself sees it.
    pub fn own_tid(&self) -> i32 {
        self.own_tid
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

    pub fn xsave_area(&self) -> &[u8] {
        &self.xsave
    }

    pub fn signal_mask(&self) -> u64 {
        self.mask
    }
}

/// A process whose threads all stand still.
#[derive(Debug)]
pub struct Patient {
    proc: ProcDir,
    pidfd: OwnedFd,
    own_pid: i32,
    parent: i32,
    threads: Vec<PatientThread>,
    foothold: Option<Foothold>,
    trampolines: Trampolines,
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
        Self::stop_with(pid, &Trampolines::default())
    }

    pub(crate) fn stop_with(pid: i32, trampolines: &Trampolines) -> Result<Self> {
        let proc = ProcDir::open(pid)?;
        let raw = Pid::from_raw(pid).ok_or(Error::Died { pid })?;
        let pidfd = rustix::process::pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| {
            Error::at(pid, "pidfd_open")(stasis_sys::Errno(errno.raw_os_error()))
        })?;
        let status = proc.status()?;
        let mut patient = Patient {
            own_pid: status.namespace_pids.last().copied().unwrap_or(pid),
            parent: proc.stat()?.parent,
            proc,
            pidfd,
            threads: Vec::new(),
            foothold: None,
            trampolines: Trampolines::clone(trampolines),
            late_signals: Vec::new(),
            released: false,
            _one_thread: OneThread::default(),
        };
        patient.stop_threads()?;
        Ok(patient)
    }

    pub fn pid(&self) -> i32 {
        self.proc.pid()
    }

    /// The pid as the process itself sees it.
    pub fn own_pid(&self) -> i32 {
        self.own_pid
    }

    /// The parent as the supervisor sees it.
    pub fn parent(&self) -> i32 {
        self.parent
    }

    pub fn proc(&self) -> &ProcDir {
        &self.proc
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

    /// A second descriptor for the open file behind the patient's descriptor `fd` (pidfd_getfd(2)).
    pub fn take_fd(&self, fd: i32) -> Result<OwnedFd> {
        rustix::process::pidfd_getfd(&self.pidfd, fd, PidfdGetfdFlags::empty()).map_err(|errno| {
            Error::at(self.pid(), "pidfd_getfd")(stasis_sys::Errno(errno.raw_os_error()))
        })
    }

    /// Reads memory; fails if any of it cannot be read.
    pub fn read_memory(&self, address: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let range = RemoteRange { address, len };
        let call = "process_vm_readv";
        let read =
            memory::read(self.pid(), &[range], &mut bytes).map_err(Error::at(self.pid(), call))?;
        if read == len {
            return Ok(bytes);
        }
        Err(Error::Kernel { pid: self.pid(), call, errno: stasis_sys::Errno::FAULT })
    }

    /// Writes memory that can be written.
    pub fn write_memory(&self, address: u64, bytes: &[u8]) -> Result<()> {
        write_all(self.pid(), address, bytes)
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
        self.ensure_foothold()?;
        for (thread, batch) in self.threads.iter().zip(batches) {
            let runner = thread.runner.as_ref().expect("every thread has a slot");
            runner.start(&thread.regs, batch)?;
        }
        let mut outcomes = Vec::new();
        for (thread, batch) in self.threads.iter().zip(batches) {
            let runner = thread.runner.as_ref().expect("every thread has a slot");
            outcomes.push(runner.finish(batch, &mut self.late_signals)?);
        }
        Ok(outcomes)
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
        loop {
            let known: Vec<i32> = self.threads.iter().map(|thread| thread.tid).collect();
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
            let thread = read_thread(tid, self.own_tid(tid)?, kind)?;
            self.threads.push(thread);
        }
        Ok(())
    }

    fn own_tid(&self, tid: i32) -> Result<i32> {
        if self.own_pid == self.pid() {
            return Ok(tid);
        }
        let status =
            self.proc.parse(format!("task/{tid}/status"), stasis_proctext::status::parse)?;
        Ok(status.namespace_pids.last().copied().unwrap_or(tid))
    }

    fn ensure_foothold(&mut self) -> Result<()> {
        if self.foothold.is_some() {
            return Ok(());
        }
        let pid = self.pid();
        let stop_signal = self.choose_stop_signal()?;
        let frame_len = sigframe::len_bytes(self.leader().xsave.len()).next_multiple_of(PAGE);
        let slot_len = |index: usize| if index == 0 { 64 * PAGE } else { 2 * PAGE };
        let total: usize =
            PAGE + (0..self.threads.len()).map(|index| frame_len + slot_len(index)).sum::<usize>();
        let bare = self.prepare_bare_calls()?;
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
        write_all(pid, base, stub::CODE)?;
        let code_page = [base, PAGE as u64, 5, 0, 0, 0]; // read, execute
        bare_call(pid, &bare.template, bare.instruction, ("mprotect", 10), code_page)?;
        self.settle_in(base, frame_len, slot_len, stop_signal)
    }

    /// Writes the frames and gives each thread its slot.
    fn settle_in(
        &mut self,
        base: u64,
        frame_len: usize,
        slot_len: impl Fn(usize) -> usize,
        stop_signal: i32,
    ) -> Result<()> {
        let pid = self.pid();
        let mut address = base + PAGE as u64;
        for (index, thread) in self.threads.iter_mut().enumerate() {
            let back = sigframe::restarted(&thread.regs);
            let (frame, sp) = sigframe::build(address, &back, thread.mask, &thread.xsave);
            write_all(pid, address, &frame)?;
            address += frame_len as u64;
            let slot = Slot { address, len: slot_len(index) };
            address += slot.len as u64;
            thread.runner = Some(Runner {
                tid: thread.tid,
                own_ids: (self.own_pid, thread.own_tid),
                code: base,
                slot,
                stop_signal,
                frame: sp,
            });
        }
        Ok(())
    }

    /// Finds out how the leader can make single calls, and lays its way back for the case that we die.
    fn prepare_bare_calls(&self) -> Result<Bare> {
        let maps = self.proc.maps()?;
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
        let laid = returning.and_then(|instruction| {
            let trampoline = way_back::find_trampoline(&maps, &self.trampolines, open, read)?;
            let way = way_back::build(&maps, &leader.regs, leader.mask, &leader.xsave, trampoline)?;
            write_all(self.pid(), way.address, &way.bytes).ok()?;
            Some(Bare { instruction, template: UserRegs { sp: way.sp, ..leader.regs } })
        });
        match laid {
            Some(bare) => Ok(bare),
            // Without a stack of its own or a C library: the time of a single call without a way back.
            None => Ok(Bare {
                instruction: self.find_syscall_instruction(&maps)?,
                template: leader.regs,
            }),
        }
    }

    /// A signal that does nothing if we die before taking it away: not caught, and none waiting.
    fn choose_stop_signal(&self) -> Result<i32> {
        let status = self.proc.status()?;
        let (caught, pending) = (status.caught, status.pending);
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
            (_, Status::Stopped { .. }) => Ok(()),
            (_, Status::Ended { .. }) => Err(Error::Died { pid: tid }),
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
        let bare = self.prepare_bare_calls().unwrap_or(foothold.bare);
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
            Some((_, Status::Ended { .. })) => return Ok(None),
            Some((_, Status::Stopped { signal, event: wait::EVENT_STOP })) => {
                let by_us = signal == 5;
                return Ok(Some(if by_us {
                    StopKind::Running
                } else {
                    StopKind::JobControl(signal)
                }));
            }
            // A signal on its way: hand it back and go on waiting for our stop.
            Some((_, Status::Stopped { signal, .. })) => {
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

fn read_thread(tid: i32, own_tid: i32, kind: StopKind) -> Result<PatientThread> {
    Ok(PatientThread {
        tid,
        own_tid,
        kind,
        regs: ptrace::registers(tid).map_err(Error::at(tid, "ptrace(GETREGS)"))?,
        xsave: ptrace::xsave_area(tid).map_err(Error::at(tid, "ptrace(GETREGSET)"))?,
        mask: ptrace::signal_mask(tid).map_err(Error::at(tid, "ptrace(GETSIGMASK)"))?,
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

fn write_all(pid: i32, address: u64, bytes: &[u8]) -> Result<()> {
    let range = RemoteRange { address, len: bytes.len() };
    let written =
        memory::write(pid, &[range], bytes).map_err(Error::at(pid, "process_vm_writev"))?;
    if written == bytes.len() {
        return Ok(());
    }
    Err(Error::Bug { pid, what: format!("wrote {written} of {} bytes", bytes.len()) })
}
