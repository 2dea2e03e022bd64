//! Blanks: stopped processes with almost nothing in them, which become the frozen ones.
//!
//! The first is made by executing a tiny program, or is the waiting init of a container; the others are
//! born by remote clone3(2) calls of their parents, so that ancestry, sessions and ids come out right by
//! construction. Blanks die with their supervisor (`PTRACE_O_EXITKILL`).

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    process::{Command, Stdio},
    rc::Rc,
};

use rustix::fs::MemfdFlags;
use stasis_model::{PAGE_SIZE, SignalMask};
use stasis_sys::{
    Errno,
    memory::RemoteRange,
    ptrace::{self, Options, UserRegs},
    wait::{self, Status, Whom},
};

use crate::{
    OneThread,
    bare_call::bare_call,
    batch::{Arg, Batch, Outcome},
    channel::Channel,
    error::{Error, Result},
    foothold::{FootholdPlan, Slot},
    pidfd,
    procdir::ProcDir,
    remote::{self, Piece},
    run::{self, Errand, Runner, libc_signals},
    sleepers::monotonic_ns,
    slots::{Claim, SharedSlots, SlotMemory},
    stub,
    tree::wait_for_end,
};

const CLONE_FILES: u64 = 0x400;
const CLONE_PTRACE: u64 = 0x2000;
const CLONE_PARENT: u64 = 0x8000;

/// A process that stands at the first instruction of the blank program.
#[derive(Debug)]
pub struct Seed {
    pid: i32,
    settled: bool,
    _one_thread: OneThread,
}

impl Seed {
    /// Starts the blank program as a child of ours.
    ///
    /// # Errors
    /// If it cannot be executed or traced.
    pub fn spawn() -> Result<Self> {
        let memfd = blank_program().map_err(Error::at(0, "memfd_create"))?;
        let child = Command::new(format!("/proc/self/fd/{}", memfd.as_raw_fd()))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::at(0, "execve of the blank")(error.into()))?;
        let pid = i32::try_from(child.id()).expect("a pid is positive and small");
        let seed = Seed { pid, settled: false, _one_thread: OneThread::default() };
        seize(pid, Options::NONE)?;
        ptrace::interrupt(pid).map_err(Error::at(pid, "ptrace(INTERRUPT)"))?;
        wait_for_event(pid, wait::EVENT_STOP)?;
        Ok(seed)
    }

    /// Seizes a process that waits to execute the blank program, lets it do so, and catches it before
    /// its first instruction.
    pub fn catch(pid: i32, release: &mut dyn FnMut() -> std::io::Result<()>) -> Result<Self> {
        seize(pid, Options::TRACE_EXEC)?;
        release()
            .map_err(|error| Error::at(pid, "release of the waiting process")(error.into()))?;
        let seed = Seed { pid, settled: false, _one_thread: OneThread::default() };
        wait_for_event(pid, wait::EVENT_EXEC)?;
        ptrace::set_options(pid, blank_options()).map_err(Error::at(pid, "ptrace(SETOPTIONS)"))?;
        // Out of execve(2), whose return value would be written into the registers, but not a step further.
        ptrace::interrupt(pid).map_err(Error::at(pid, "ptrace(INTERRUPT)"))?;
        ptrace::cont(pid, 0).map_err(Error::at(pid, "ptrace(CONT)"))?;
        wait_for_event(pid, wait::EVENT_STOP)?;
        Ok(seed)
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Ranges of memory that it occupies.
    pub fn memory(&self) -> Result<Vec<std::ops::Range<u64>>> {
        Ok(ProcDir::open(self.pid)?.maps()?.into_iter().map(|map| map.range).collect())
    }

    /// Turns it into a blank with a foothold.
    pub fn settle(mut self, plan: FootholdPlan) -> Result<Blank> {
        let pid = self.pid;
        let regs = ptrace::registers(pid).map_err(Error::at(pid, "ptrace(GETREGS)"))?;
        let mask = SignalMask::ALL.without(libc_signals::URG);
        ptrace::set_signal_mask(pid, mask.0).map_err(Error::at(pid, "ptrace(SETSIGMASK)"))?;
        let call = |call, arguments| bare_call(pid, &regs, stub::BLANK_SYSCALL, call, arguments);
        const MFD_CLOEXEC: u64 = 1;
        let name = [stub::BLANK_FOOTHOLD_NAME, MFD_CLOEXEC, 0, 0, 0, 0];
        let fd = call(("memfd_create", 319), name)?;
        let pidfd = pidfd::open(pid)?;
        let file = pidfd::take_fd((pid, &pidfd), fd as i32)?;
        let slots = SharedSlots::of(pid, file, plan, stub::CODE)?;
        const READ_EXECUTE: u64 = 5;
        const PRIVATE: u64 = 0x10_0002; // and MAP_FIXED_NOREPLACE
        call(("mmap", 9), [plan.base, PAGE_SIZE, READ_EXECUTE, PRIVATE, fd, 0])?;
        const READ_WRITE: u64 = 3;
        const SHARED: u64 = 0x10_0001; // and MAP_FIXED_NOREPLACE
        let (address, len) = (plan.base + PAGE_SIZE, plan.len - PAGE_SIZE);
        call(("mmap", 9), [address, len, READ_WRITE, SHARED, fd, PAGE_SIZE])?;
        call(("close", 3), [fd, 0, 0, 0, 0, 0])?;
        let proc = ProcDir::open(pid)?;
        let own_pid = proc.status()?.namespace_pids.last().copied().unwrap_or(pid);
        self.settled = true;
        Ok(Blank::new((proc, pidfd), own_pid, slots, regs))
    }
}

/// The blank program in a sealed memory file that can be executed by its descriptor.
pub fn blank_program() -> std::result::Result<OwnedFd, Errno> {
    let memfd = rustix::fs::memfd_create("stasis-blank", MemfdFlags::CLOEXEC)
        .map_err(|errno| Errno(errno.raw_os_error()))?;
    let mut file = std::fs::File::from(memfd);
    file.write_all(&stub::blank_elf())?;
    // A file that is open for writing cannot be executed.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(std::fs::File::open(path)?.into())
}

/// A child to be born.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// Its pid as it will see itself.
    pub own_pid: i32,
    pub shares_descriptors: bool,
    /// It becomes a sibling instead of a child (`CLONE_PARENT`).
    pub as_sibling: bool,
}

/// A system call in which a thread is to sleep.
#[derive(Clone, Copy, Debug)]
pub struct Sleep {
    /// Index among the threads of the process.
    pub thread: usize,
    pub number: u64,
    pub arguments: [u64; 6],
    /// A time-out, to which the argument with this index leads.
    pub timeout: Option<(usize, [u64; 2])>,
}

/// How it went with a thread that was put to sleep.
#[derive(Clone, Copy, Debug)]
pub struct Slept {
    /// What the call returned; `ERESTART_RESTARTBLOCK` (-516) if it sleeps, so that the kernel holds the data for
    /// restarting it.
    pub result: i64,
    /// `CLOCK_MONOTONIC` when it went to sleep.
    pub since_ns: u64,
}

/// A process to be morphed.
#[derive(Debug)]
pub struct Blank {
    proc: ProcDir,
    pidfd: OwnedFd,
    own_pid: i32,
    pub(crate) slots: Rc<SharedSlots>,
    /// The slot of a batch that was started.
    under_way: Option<Claim>,
    threads: Vec<BlankThread>,
    late_signals: Vec<i32>,
    left: bool,
    _one_thread: OneThread,
}

/// A thread of a blank; the first is the leader.
#[derive(Debug)]
pub struct BlankThread {
    tid: i32,
    own_tid: i32,
    template: UserRegs,
    runner: Runner,
    slept: Option<Slept>,
}

impl BlankThread {
    /// As the supervisor sees it.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    pub fn own_tid(&self) -> i32 {
        self.own_tid
    }

    /// How it went, if it was put to sleep when it was born.
    pub fn slept(&self) -> Option<Slept> {
        self.slept
    }
}

impl Blank {
    fn new(
        (proc, pidfd): (ProcDir, OwnedFd),
        own_pid: i32,
        slots: Rc<SharedSlots>,
        template: UserRegs,
    ) -> Self {
        let pid = proc.pid();
        let leader = new_thread((own_pid, pid, own_pid), slots.plan(), 0, template);
        Blank {
            proc,
            pidfd,
            own_pid,
            slots,
            under_way: None,
            threads: vec![leader],
            late_signals: Vec::new(),
            left: false,
            _one_thread: OneThread::default(),
        }
    }

    pub fn pid(&self) -> i32 {
        self.proc.pid()
    }

    pub fn own_pid(&self) -> i32 {
        self.own_pid
    }

    pub fn proc(&self) -> &ProcDir {
        &self.proc
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub fn plan(&self) -> FootholdPlan {
        self.slots.plan()
    }

    pub fn threads(&self) -> &[BlankThread] {
        &self.threads
    }

    /// Runs a batch in the leader; every call that is not tolerant must succeed.
    ///
    /// # Errors
    /// [`Error::Kernel`] naming the call that failed.
    pub fn run(&mut self, batch: &Batch) -> Result<Outcome> {
        self.start(batch)?;
        self.finish(batch)
    }

    /// Runs one batch in each thread but the leader, all at the same time.
    pub fn run_in_others(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>> {
        let others = || self.threads.iter().skip(1).zip(batches);
        // Side by side in the room that there is for the longest ones, on as few pages as they need.
        let mut address = self.plan().thread_slot(1).address;
        let pack = |(thread, batch): (&BlankThread, &Batch)| {
            let slot = Slot { address, len: batch.len_bytes() };
            address += slot.len.next_multiple_of(8) as u64;
            Runner { slot, ..thread.runner }
        };
        let runners: Vec<Runner> = others().map(pack).collect();
        assert!(address <= self.plan().range().end, "no batch is longer than its slot");
        let errands: Vec<_> = runners
            .iter()
            .zip(others())
            .map(|(runner, (thread, batch))| Errand { runner, template: &thread.template, batch })
            .collect();
        let outcomes = run::run_all(&errands, &*self.slots, &mut self.late_signals)?;
        outcomes.iter().try_for_each(Outcome::check)?;
        Ok(outcomes)
    }

    /// Lets the leader start on a batch.
    pub fn start(&mut self, batch: &Batch) -> Result<()> {
        let claim = self.slots.claim(self.pid())?;
        self.start_in(claim.slot(), batch)?;
        self.under_way = Some(claim);
        Ok(())
    }

    /// Waits for a batch that was started.
    pub fn finish(&mut self, batch: &Batch) -> Result<Outcome> {
        let claim = self.under_way.take().expect("a batch that was started");
        self.finish_in(claim.slot(), batch)
    }

    /// Lets the leader start on a batch in a slot that was claimed, or a part of it.
    pub(crate) fn start_in(&mut self, slot: Slot, batch: &Batch) -> Result<()> {
        let (runner, template) = self.leader_in(slot);
        run::start(&[Errand { runner: &runner, template: &template, batch }], &*self.slots)
    }

    /// Waits for a batch that was started there.
    pub(crate) fn finish_in(&mut self, slot: Slot, batch: &Batch) -> Result<Outcome> {
        let (runner, template) = self.leader_in(slot);
        let errand = Errand { runner: &runner, template: &template, batch };
        let outcomes = run::finish(&[errand], &*self.slots, &mut self.late_signals)?;
        let outcome = outcomes.into_iter().next().expect("one batch has one outcome");
        outcome.check()?;
        Ok(outcome)
    }

    fn leader_in(&self, slot: Slot) -> (Runner, UserRegs) {
        let BlankThread { runner, template, .. } = &self.threads[0];
        (Runner { slot, ..*runner }, *template)
    }

    /// A descriptor of ours for the open file behind the blank's descriptor `fd`.
    pub fn take_fd(&self, fd: i32) -> Result<OwnedFd> {
        pidfd::take_fd((self.pid(), &self.pidfd), fd)
    }

    /// Makes the channel that the blank and all born of it later can be handed descriptors through.
    ///
    /// `remote` is a number that no process of the tree uses.
    pub fn open_channel(&mut self, remote: i32) -> Result<Channel> {
        const SOCKETPAIR: i64 = 53;
        const CLOSE: i64 = 3;
        const DUP2: i64 = 33;
        const UNIX: i32 = 1;
        const SEQPACKET: i32 = 5;
        let mut batch = Batch::new();
        let pair = batch.space(8);
        batch.call(
            "socketpair",
            SOCKETPAIR,
            [UNIX.into(), SEQPACKET.into(), 0.into(), pair.into()],
        );
        let outcome = self.run(&batch)?;
        let ends = [0, 1].map(|index| outcome.half(pair, index).cast_signed());
        let ours = self.take_fd(ends[0])?;
        let mut batch = Batch::new();
        batch.call("dup2", DUP2, [ends[1].into(), remote.into()]);
        batch.call("close", CLOSE, [ends[0].into()]);
        batch.call("close", CLOSE, [ends[1].into()]);
        self.run(&batch)?;
        Ok(Channel::new(ours, remote))
    }

    /// Bears children (or siblings).
    ///
    /// # Errors
    /// [`Error::Kernel`] with `EEXIST` if a pid is taken.
    pub fn bear(&mut self, births: &[Birth]) -> Result<Vec<Blank>> {
        const SIGCHLD: u64 = 17;
        let mut batch = Batch::new();
        for birth in births {
            let mut flags = CLONE_PTRACE;
            if birth.shares_descriptors {
                flags |= CLONE_FILES;
            }
            if birth.as_sibling {
                flags |= CLONE_PARENT;
            }
            let exit_signal = if birth.as_sibling { 0 } else { SIGCHLD };
            let arguments = clone_arguments(&mut batch, flags, (birth.own_pid, exit_signal), None);
            batch.call("clone3", CLONE3, arguments);
        }
        self.run(&batch)?;
        let template = self.threads[0].template;
        let pids = self.host_pids(births)?;
        births.iter().zip(pids).map(|(birth, pid)| self.adopt_child(birth, pid, template)).collect()
    }

    pub(crate) fn add_thread(&mut self, (tid, own_tid): (i32, i32), slept: Option<Slept>) {
        let (template, index) = (self.threads[0].template, self.threads.len());
        let thread = new_thread((self.own_pid, tid, own_tid), self.plan(), index, template);
        self.threads.push(BlankThread { slept, ..thread });
    }

    /// Makes threads enter system calls that sleep and stops them there again, so that the kernel holds the
    /// data for restarting them. All go through it side by side.
    pub fn enter_sleeps(&mut self, sleeps: &[Sleep]) -> Result<Vec<Slept>> {
        let since_ns = monotonic_ns();
        let claim = self.slots.claim(self.pid())?;
        for (arguments, sleep) in self.place_timeouts(sleeps, claim.slot())?.iter().zip(sleeps) {
            let thread = &self.threads[sleep.thread];
            let [di, si, dx, r10, r8, r9] = *arguments;
            let ip = self.plan().base + stub::SYSCALL;
            let (ax, none) = (sleep.number, u64::MAX);
            let regs =
                UserRegs { ax, orig_ax: none, ip, di, si, dx, r10, r8, r9, ..thread.template };
            let tid = thread.tid;
            ptrace::set_registers(tid, &regs).map_err(Error::at(tid, "ptrace(SETREGS)"))?;
            ptrace::cont_to_syscall(tid).map_err(Error::at(tid, "ptrace(SYSCALL)"))?;
        }
        for sleep in sleeps {
            let tid = self.threads[sleep.thread].tid;
            match wait::wait(Whom::Thread(tid)).map_err(Error::at(tid, "wait4"))? {
                (_, Status::Stopped { signal: wait::SYSCALL_STOP, .. }) => {}
                (_, Status::Ended { .. }) => return Err(Error::Died { pid: tid }),
                (_, other) => {
                    let what = format!("{other:?} instead of the entry to a system call");
                    return Err(Error::Bug { pid: tid, what });
                }
            }
            // With the interrupt already there the call goes to sleep and out again at once.
            ptrace::interrupt(tid).map_err(Error::at(tid, "ptrace(INTERRUPT)"))?;
            ptrace::cont(tid, 0).map_err(Error::at(tid, "ptrace(CONT)"))?;
        }
        let mut results = Vec::with_capacity(sleeps.len());
        for sleep in sleeps {
            let tid = self.threads[sleep.thread].tid;
            wait_for_event(tid, wait::EVENT_STOP)?;
            let regs = ptrace::registers(tid).map_err(Error::at(tid, "ptrace(GETREGS)"))?;
            results.push(Slept { result: regs.ax.cast_signed(), since_ns });
        }
        Ok(results)
    }

    /// Puts time-outs into a slot, and tells the arguments with which the calls find theirs.
    fn place_timeouts(&self, sleeps: &[Sleep], slot: Slot) -> Result<Vec<[u64; 6]>> {
        const LEN: usize = 16;
        let mut bytes = Vec::with_capacity(sleeps.len() * LEN);
        let place = |sleep: &Sleep| {
            let mut arguments = sleep.arguments;
            if let Some((index, timeout)) = sleep.timeout {
                arguments[index] = slot.address + bytes.len() as u64;
                bytes.extend(timeout.iter().flat_map(|word| word.to_ne_bytes()));
            }
            arguments
        };
        let arguments = sleeps.iter().map(place).collect();
        assert!(bytes.len() <= slot.len, "more threads than there can be");
        self.slots.put(&[RemoteRange { address: slot.address, len: bytes.len() }], &bytes)?;
        Ok(arguments)
    }

    /// Writes bytes to ranges of memory, one after the other, by as few calls as it takes. It may execute a batch
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Kernel`] if one of them cannot be written; those behind it then are not.
    pub fn write_ranges(&self, ranges: &[RemoteRange], bytes: &[u8]) -> Result<()> {
        remote::write_ranges(self.pid(), ranges, bytes)
    }

    /// The same where there is memory that can be written.
    pub fn try_to_write(&self, pieces: &[Piece]) {
        remote::try_pieces(self.pid(), pieces);
    }

    /// Sets the processor state with which thread `index` will go on.
    pub fn set_extended_state(&self, index: usize, area: &[u8]) -> Result<()> {
        let tid = self.threads[index].tid;
        ptrace::set_xsave_area(tid, area).map_err(Error::at(tid, "ptrace(SETREGSET)"))
    }

    pub fn extended_state(&self, index: usize) -> Result<Vec<u8>> {
        let tid = self.threads[index].tid;
        ptrace::xsave_area(tid).map_err(Error::at(tid, "ptrace(GETREGSET)"))
    }

    /// Takes our pages out of the process and sets the registers and masks with which its threads will
    /// go on. After this it is whole and still stands.
    pub fn take_leave(&mut self, ends: &[(UserRegs, SignalMask)]) -> Result<()> {
        assert_eq!(ends.len(), self.threads.len(), "an end for each thread");
        let leader = &self.threads[0];
        let (pid, template) = (leader.tid, leader.template);
        let plan = self.plan();
        let range = [plan.base, plan.len, 0, 0, 0, 0];
        bare_call(pid, &template, plan.base + stub::SYSCALL, ("munmap", 11), range)?;
        for (thread, (regs, mask)) in self.threads.iter().zip(ends) {
            let tid = thread.tid;
            ptrace::set_registers(tid, regs).map_err(Error::at(tid, "ptrace(SETREGS)"))?;
            ptrace::set_signal_mask(tid, mask.0).map_err(Error::at(tid, "ptrace(SETSIGMASK)"))?;
        }
        self.left = true;
        Ok(())
    }

    /// Brings a finished process to a stop by job control, in which it stays when it is let go.
    ///
    /// `mask`: its leader's blocked signals; until it stands none may come in between.
    pub fn stop_by_job_control(&self, mask: SignalMask) -> Result<()> {
        const SIGSTOP: i32 = 19;
        let pid = self.pid();
        ptrace::set_signal_mask(pid, u64::MAX).map_err(Error::at(pid, "ptrace(SETSIGMASK)"))?;
        stasis_sys::process::kill_thread(pid, pid, SIGSTOP).map_err(Error::at(pid, "tgkill"))?;
        let mut deliver = 0;
        loop {
            ptrace::cont(pid, deliver).map_err(Error::at(pid, "ptrace(CONT)"))?;
            match wait::wait(Whom::Thread(pid)).map_err(Error::at(pid, "wait4"))? {
                (_, Status::Stopped { event: wait::EVENT_STOP, signal: SIGSTOP }) => break,
                (_, Status::Stopped { event: 0, signal: SIGSTOP }) => deliver = SIGSTOP,
                (_, Status::Stopped { .. }) => deliver = 0,
                (_, Status::Ended { .. }) => return Err(Error::Died { pid }),
            }
        }
        ptrace::set_signal_mask(pid, mask.0).map_err(Error::at(pid, "ptrace(SETSIGMASK)"))
    }

    /// Lets the finished process go.
    pub fn let_go(self) -> Result<()> {
        assert!(self.left, "a process is let go only after we have left it");
        // The others first: until the leader runs nobody waits for a thread that stands.
        for thread in self.threads.iter().rev() {
            ptrace::detach(thread.tid, 0).map_err(Error::at(thread.tid, "ptrace(DETACH)"))?;
        }
        Ok(())
    }

    /// Ends the process in the given way (raw wait status), to be collected by its parent.
    pub fn end_as_zombie(mut self, wait_status: u32) -> Result<()> {
        const EXIT_GROUP: i64 = 231;
        let pid = self.pid();
        let signal = i32::try_from(wait_status & 0x7f).expect("seven bits");
        if signal == 0 {
            let mut batch = Batch::new();
            batch.call("exit_group", EXIT_GROUP, [(wait_status >> 8 & 0xff).into()]);
            self.start(&batch)?;
        } else {
            ptrace::set_signal_mask(pid, 0).map_err(Error::at(pid, "ptrace(SETSIGMASK)"))?;
            ptrace::cont(pid, signal).map_err(Error::at(pid, "ptrace(CONT)"))?;
        }
        match wait::wait(Whom::Thread(pid)).map_err(Error::at(pid, "wait4"))? {
            (_, Status::Ended { .. }) => Ok(()),
            (_, other) => Err(Error::Bug { pid, what: format!("{other:?} instead of its end") }),
        }
    }

    /// Ends a helper without a trace; its parent must collect it.
    pub fn kill(self) -> Result<()> {
        kill_and_collect(self.pid())
    }

    fn adopt_child(&self, birth: &Birth, pid: i32, template: UserRegs) -> Result<Blank> {
        wait_for_event(pid, wait::EVENT_STOP)?;
        let told = (ProcDir::open(pid)?, pidfd::open(pid)?);
        Ok(Blank::new(told, birth.own_pid, Rc::clone(&self.slots), template))
    }

    /// Who was just born, as the supervisor sees them.
    fn host_pids(&self, births: &[Birth]) -> Result<Vec<i32>> {
        if self.own_pid == self.pid() {
            return Ok(births.iter().map(|birth| birth.own_pid).collect());
        }
        let mut by_own = HashMap::new();
        let mut note = |children: Vec<i32>| -> Result<()> {
            // The youngest come last.
            for pid in children.into_iter().rev().take(births.len()) {
                let status = ProcDir::open(pid)?.status()?;
                by_own.extend(status.namespace_pids.last().map(|own| (*own, pid)));
            }
            Ok(())
        };
        if births.iter().any(|birth| birth.as_sibling) {
            note(ProcDir::open(self.proc.stat()?.parent)?.children()?)?;
        }
        if births.iter().any(|birth| !birth.as_sibling) {
            note(self.proc.children()?)?;
        }
        let found = |birth: &Birth| by_own.get(&birth.own_pid).copied();
        births.iter().map(|birth| found(birth).ok_or(Error::Died { pid: birth.own_pid })).collect()
    }

    /// The threads as the supervisor sees them; `known` are those that were met, with the ids that they see.
    pub(crate) fn host_tids(
        &self,
        own_tids: &[i32],
        known: &mut HashMap<i32, i32>,
    ) -> Result<Vec<i32>> {
        if self.own_pid == self.pid() {
            return Ok(own_tids.to_vec());
        }
        let mut by_own = HashMap::new();
        for tid in self.proc.threads()? {
            let own = match known.entry(tid) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => {
                    let status = self.proc.thread_status(tid)?;
                    *place.insert(status.namespace_pids.last().copied().unwrap_or(tid))
                }
            };
            by_own.insert(own, tid);
        }
        own_tids
            .iter()
            .map(|own| by_own.get(own).copied().ok_or(Error::Died { pid: *own }))
            .collect()
    }
}

/// Ends a seed that has borne the root.
impl Seed {
    pub fn kill_after(blank: Blank) -> Result<()> {
        kill_and_collect(blank.pid())
    }
}

fn kill_and_collect(pid: i32) -> Result<()> {
    stasis_sys::process::kill(pid, 9).map_err(Error::at(pid, "kill"))?;
    wait_for_end(pid)
}

pub(crate) const CLONE3: i64 = 435;

/// For clone3(2), which bears a process, or a thread with the address of its stack.
pub(crate) fn clone_arguments(
    batch: &mut Batch,
    flags: u64,
    (own_tid, exit_signal): (i32, u64),
    stack: Option<u64>,
) -> [Arg; 2] {
    const LEN: usize = 88;
    let set_tid = batch.bytes(&own_tid.to_ne_bytes());
    let arguments = batch.space(LEN);
    batch.word(arguments, 0, flags);
    batch.word(arguments, 4, exit_signal);
    if let Some(stack) = stack {
        const STACK_LEN: u64 = 8;
        batch.word(arguments, 5, stack - STACK_LEN);
        batch.word(arguments, 6, STACK_LEN);
    }
    batch.pointer(arguments, 8, set_tid);
    batch.word(arguments, 9, 1);
    [arguments.into(), LEN.into()]
}

fn new_thread(
    (own_pid, tid, own_tid): (i32, i32, i32),
    plan: FootholdPlan,
    index: usize,
    template: UserRegs,
) -> BlankThread {
    // The leader's is another one for each batch.
    let slot = if index == 0 { plan.main_slot(0) } else { plan.thread_slot(index) };
    let runner = Runner {
        tid,
        own_ids: (own_pid, own_tid),
        code: plan.base,
        slot,
        stop_signal: libc_signals::URG,
        frame: 0,
        held: false,
    };
    BlankThread { tid, own_tid, template, runner, slept: None }
}

fn blank_options() -> Options {
    Options::SYSCALL_GOOD.and(Options::EXIT_KILL).and(Options::SUSPEND_SECCOMP)
}

pub(crate) fn seize(pid: i32, more: Options) -> Result<()> {
    ptrace::seize(pid, blank_options().and(more)).map_err(Error::at(pid, "ptrace(SEIZE)"))
}

pub(crate) fn wait_for_event(tid: i32, wanted: i32) -> Result<()> {
    loop {
        match wait::wait(Whom::Thread(tid)).map_err(Error::at(tid, "wait4"))? {
            (_, Status::Stopped { event, .. }) if event == wanted => return Ok(()),
            (_, Status::Stopped { event, signal }) => {
                let signal = if event == 0 { signal } else { 0 };
                ptrace::cont(tid, signal).map_err(Error::at(tid, "ptrace(CONT)"))?;
            }
            (_, Status::Ended { .. }) => return Err(Error::Died { pid: tid }),
        }
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if !self.settled {
            let _ = stasis_sys::process::kill(self.pid, 9);
        }
    }
}

impl Drop for Blank {
    fn drop(&mut self) {
        // A half-made process must not survive; one that was left whole is on its own.
        if !self.left {
            let _ = stasis_sys::process::kill(self.pid(), 9);
        }
    }
}
