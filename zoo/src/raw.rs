//! The only `unsafe` of the zoo: calls that no safe crate offers, because they are what we test.
//!
//! Programs need to fork without executing anything (shared copy-on-write memory, shared file
//! tables), to hold values in registers, to install handlers, to map memory at will and to make
//! odd system calls. A wrong argument harms only the program itself, and its `plain` run would
//! fail; so these functions are offered as safe ones although the compiler cannot check them all.

use std::{
    io, mem, ptr,
    sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use crate::{program::Verdict, stage::Stage};

/// A system call by number. Pointers are passed as addresses of values that live across the call.
pub fn syscall(number: libc::c_long, arguments: &[usize]) -> io::Result<usize> {
    let mut a = [0; 6];
    a[..arguments.len()].copy_from_slice(arguments);
    // SAFETY: the kernel checks every address it is given; what it may overwrite are values that
    // the caller named for this purpose (see the module's text).
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The address of a value for [`syscall`].
pub fn at<T: ?Sized>(value: &T) -> usize {
    ptr::from_ref(value).cast::<u8>().expose_provenance()
}

/// The address of a value that the kernel fills in.
pub fn into<T: ?Sized>(value: &mut T) -> usize {
    ptr::from_mut(value).cast::<u8>().expose_provenance()
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

// ---- processes ----

pub struct Child {
    pub pid: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Exited(i32),
    Killed(i32),
    Stopped(i32),
    Continued,
}

/// Forks; the child runs `body` and ends with 0 or 1. What it found wrong is left in a file.
pub fn fork(stage: &Stage, body: impl FnOnce(&Stage) -> Verdict) -> anyhow::Result<Child> {
    clone(stage, 0, body)
}

/// As [`fork`] with additional flags of clone(2), but without `CLONE_VM`.
pub fn clone(
    stage: &Stage,
    flags: libc::c_int,
    body: impl FnOnce(&Stage) -> Verdict,
) -> anyhow::Result<Child> {
    assert!(flags & libc::CLONE_VM == 0, "the child would run on the stack of its parent");
    let number = (flags | libc::SIGCHLD) as usize;
    let pid = syscall(libc::SYS_clone, &[number])? as i32;
    if pid != 0 {
        return Ok(Child { pid });
    }
    let verdict = body(stage);
    if let Err(error) = &verdict {
        let name = format!("child-{}", std::process::id());
        let _ = stage.mark_with(&name, &format!("{error:#}"));
    }
    exit_now(i32::from(verdict.is_err()))
}

/// Ends the process at once, as a forked child should.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` ends the process; nothing of ours is touched.
    unsafe { libc::_exit(code) }
}

impl Child {
    pub fn wait(&self) -> anyhow::Result<Status> {
        self.wait_with(0)
    }

    pub fn wait_with(&self, options: libc::c_int) -> anyhow::Result<Status> {
        Ok(wait_for(self.pid, options)?.1)
    }

    /// Waits for the end of a child that had something to check.
    pub fn join(&self, stage: &Stage) -> Verdict {
        let status = self.wait()?;
        let why = std::fs::read_to_string(stage.path(&format!("child-{}", self.pid)));
        anyhow::ensure!(
            status == Status::Exited(0),
            "child {} ended with {status:?}: {}",
            self.pid,
            why.unwrap_or_default()
        );
        Ok(())
    }

    pub fn kill(&self, signal: libc::c_int) -> io::Result<()> {
        kill(self.pid, signal)
    }
}

pub fn kill(pid: i32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: kill(2) touches no memory.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// waitpid(2).
pub fn wait_for(pid: i32, options: libc::c_int) -> io::Result<(i32, Status)> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the kernel's answer.
    let pid = check(unsafe { libc::waitpid(pid, &raw mut status, options) })?;
    let status = if libc::WIFEXITED(status) {
        Status::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        Status::Killed(libc::WTERMSIG(status))
    } else if libc::WIFSTOPPED(status) {
        Status::Stopped(libc::WSTOPSIG(status))
    } else {
        Status::Continued
    };
    Ok((pid, status))
}

pub fn gettid() -> i32 {
    syscall(libc::SYS_gettid, &[]).expect("gettid cannot fail") as i32
}

pub fn getpid() -> i32 {
    syscall(libc::SYS_getpid, &[]).expect("getpid cannot fail") as i32
}

/// prctl(2).
pub fn prctl(option: libc::c_int, arguments: &[usize]) -> io::Result<usize> {
    let mut all = vec![option as usize];
    all.extend_from_slice(arguments);
    syscall(libc::SYS_prctl, &all)
}

/// A child that shares our memory without being a thread, on a stack of its own; it only sleeps.
pub fn clone_sharing_memory(flags: libc::c_int) -> io::Result<i32> {
    extern "C" fn sleep_for_ever(_: *mut libc::c_void) -> libc::c_int {
        loop {
            // SAFETY: pause(2) touches no memory.
            unsafe { libc::pause() };
        }
    }
    let stack = vec![0_u8; 64 * 1024].leak();
    let top = stack.as_mut_ptr_range().end;
    let flags = flags | libc::CLONE_VM | libc::SIGCHLD;
    // SAFETY: the stack is ours for ever, and the child does nothing but sleep on it.
    check(unsafe { libc::clone(sleep_for_ever, top.cast(), flags, ptr::null_mut()) })
}

/// vfork(2): the parent stands still until the child, which sleeps, has slept.
pub fn vfork_and_sleep(time: Duration) -> io::Result<i32> {
    extern "C" fn sleep_once(time: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `time` points to the parent's value; the parent waits in clone until we end.
        unsafe { libc::nanosleep(time.cast(), ptr::null_mut()) }
    }
    let stack = vec![0_u8; 64 * 1024].leak();
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let mut time = timespec(time);
    // SAFETY: the stack is ours for ever; the parent does not run before the child is done.
    check(unsafe { libc::clone(sleep_once, top.cast(), flags, (&raw mut time).cast()) })
}

// ---- time ----

pub fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

pub fn timeval(time: Duration) -> libc::timeval {
    libc::timeval { tv_sec: time.as_secs() as i64, tv_usec: i64::from(time.subsec_micros()) }
}

pub fn duration(time: libc::timespec) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The time of a clock, through the vDSO where it offers that.
pub fn clock(id: libc::clockid_t) -> io::Result<Duration> {
    let mut time = timespec(Duration::ZERO);
    // SAFETY: `time` is a valid place for the answer.
    check(unsafe { libc::clock_gettime(id, &raw mut time) })?;
    Ok(duration(time))
}

/// gettimeofday(2), time(2) and getcpu(2) through the vDSO.
pub fn other_vdso_calls() -> io::Result<(Duration, i64, u32)> {
    let mut now = timeval(Duration::ZERO);
    // SAFETY: `now` is a valid place for the answer; no time zone is asked for.
    check(unsafe { libc::gettimeofday(&raw mut now, ptr::null_mut()) })?;
    // SAFETY: time(2) accepts a null pointer.
    let seconds = unsafe { libc::time(ptr::null_mut()) };
    // SAFETY: sched_getcpu touches no memory of ours.
    let cpu = check(unsafe { libc::sched_getcpu() })?;
    let now = Duration::new(now.tv_sec as u64, now.tv_usec as u32 * 1000);
    Ok((now, seconds, cpu as u32))
}

// ---- signals ----

/// A signal as a handler saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    pub signal: i32,
    pub code: i32,
    pub pid: i32,
    pub value: usize,
    /// The task that ran the handler.
    pub tid: i32,
    /// An address on the stack that the handler ran on.
    pub stack: usize,
}

const ROOM: usize = 512;

struct Slot([AtomicI32; 4], [AtomicUsize; 2]);

static LOG: [Slot; ROOM] =
    [const { Slot([const { AtomicI32::new(0) }; 4], [const { AtomicUsize::new(0) }; 2]) }; ROOM];
static LOGGED: AtomicUsize = AtomicUsize::new(0);
/// While not 0 a handler does not return.
pub static HOLD_HANDLER: AtomicU32 = AtomicU32::new(0);

/// Fields of siginfo_t that a queued signal has (sigaction(2)).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct QueuedInfo {
    pub signal: i32,
    pub errno: i32,
    pub code: i32,
    pad: i32,
    pub pid: i32,
    pub uid: u32,
    pub value: usize,
    rest: [u64; 12],
}

impl QueuedInfo {
    pub fn new(signal: i32, code: i32, value: usize) -> QueuedInfo {
        let pid = getpid();
        QueuedInfo { signal, errno: 0, code, pad: 0, pid, uid: 0, value, rest: [0; 12] }
    }
}

extern "C" fn record(signal: libc::c_int, info: *const QueuedInfo, _: *const libc::c_void) {
    // SAFETY: the kernel passes a complete siginfo_t, of which QueuedInfo is a view; all fields
    // are plain integers.
    let info = unsafe { info.read() };
    let index = LOGGED.fetch_add(1, Ordering::SeqCst);
    if let Some(Slot(numbers, words)) = LOG.get(index) {
        numbers[0].store(signal, Ordering::SeqCst);
        numbers[1].store(info.code, Ordering::SeqCst);
        numbers[2].store(info.pid, Ordering::SeqCst);
        numbers[3].store(gettid(), Ordering::SeqCst);
        words[0].store(info.value, Ordering::SeqCst);
        words[1].store(at(&info), Ordering::SeqCst);
    }
    while HOLD_HANDLER.load(Ordering::SeqCst) != 0 {
        let pause = timespec(Duration::from_millis(5));
        let _ = syscall(libc::SYS_nanosleep, &[at(&pause), 0]);
    }
}

/// Lets a handler write down every signal `signal` that arrives.
pub fn catch(signal: libc::c_int) -> io::Result<()> {
    catch_with(signal, 0, &[])
}

pub fn catch_with(signal: i32, flags: libc::c_int, mask: &[i32]) -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int, *const QueuedInfo, *const libc::c_void) = record;
    set_action(signal, handler as usize, flags | libc::SA_SIGINFO, mask)
}

pub fn set_action(signal: i32, handler: usize, flags: libc::c_int, mask: &[i32]) -> io::Result<()> {
    let (sa_sigaction, sa_mask) = (handler, sigset(mask));
    let action = libc::sigaction { sa_sigaction, sa_mask, sa_flags: flags, sa_restorer: None };
    // SAFETY: `action` is complete; its handler is `record`, `SIG_IGN` or `SIG_DFL`.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }).map(drop)
}

/// Handler, flags, restorer and mask as the kernel keeps them (rt_sigaction(2)).
pub fn action(signal: i32) -> io::Result<[u64; 4]> {
    let mut action = [0_u64; 4];
    syscall(libc::SYS_rt_sigaction, &[signal as usize, 0, into(&mut action), 8])?;
    Ok(action)
}

/// What the handlers have seen so far, in order.
pub fn caught() -> Vec<Caught> {
    let count = LOGGED.load(Ordering::SeqCst).min(ROOM);
    let read = |Slot(numbers, words): &Slot| Caught {
        signal: numbers[0].load(Ordering::SeqCst),
        code: numbers[1].load(Ordering::SeqCst),
        pid: numbers[2].load(Ordering::SeqCst),
        tid: numbers[3].load(Ordering::SeqCst),
        value: words[0].load(Ordering::SeqCst),
        stack: words[1].load(Ordering::SeqCst),
    };
    LOG[..count].iter().map(read).collect()
}

/// The bit of a signal in the kernel's 64-bit sets.
pub fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn sigset(signals: &[i32]) -> libc::sigset_t {
    let bits = signals.iter().fold(0, |bits, &signal| bits | bit(signal));
    // SAFETY: a sigset_t is plain bits, and all zeros is the empty set.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel's 64 bits are the first eight bytes of the C library's set.
    unsafe { (&raw mut set).cast::<u64>().write(bits) };
    set
}

pub fn set_mask(bits: u64) -> io::Result<()> {
    let how = libc::SIG_SETMASK as usize;
    syscall(libc::SYS_rt_sigprocmask, &[how, at(&bits), 0, 8]).map(drop)
}

pub fn mask() -> io::Result<u64> {
    let mut bits = 0_u64;
    syscall(libc::SYS_rt_sigprocmask, &[0, 0, into(&mut bits), 8])?;
    Ok(bits)
}

pub fn block(signals: &[i32]) -> io::Result<()> {
    let bits = signals.iter().fold(mask()?, |bits, &signal| bits | bit(signal));
    set_mask(bits)
}

pub fn unblock(signals: &[i32]) -> io::Result<()> {
    let bits = signals.iter().fold(mask()?, |bits, &signal| bits & !bit(signal));
    set_mask(bits)
}

/// Signals pending for this task or its process.
pub fn pending() -> io::Result<u64> {
    let mut bits = 0_u64;
    syscall(libc::SYS_rt_sigpending, &[into(&mut bits), 8])?;
    Ok(bits)
}

/// Queues a signal with data for a process (rt_sigqueueinfo(2)).
pub fn queue(pid: i32, info: &QueuedInfo) -> io::Result<()> {
    let signal = info.signal as usize;
    syscall(libc::SYS_rt_sigqueueinfo, &[pid as usize, signal, at(info)]).map(drop)
}

/// Queues a signal with data for one task of this process.
pub fn queue_to_task(tid: i32, info: &QueuedInfo) -> io::Result<()> {
    let to = [getpid() as usize, tid as usize, info.signal as usize, at(info)];
    syscall(libc::SYS_rt_tgsigqueueinfo, &to).map(drop)
}

/// Takes the next pending signal of a set (rt_sigtimedwait(2)).
pub fn take(signals: &[i32], timeout: Duration) -> io::Result<QueuedInfo> {
    let bits = signals.iter().fold(0, |bits, &signal| bits | bit(signal));
    let mut info = QueuedInfo::new(0, 0, 0);
    let timeout = timespec(timeout);
    let arguments = [at(&bits), into(&mut info), at(&timeout), 8];
    syscall(libc::SYS_rt_sigtimedwait, &arguments)?;
    Ok(info)
}

/// Gives the calling task an alternate signal stack; returns where it lies.
pub fn set_alt_stack(len: usize) -> io::Result<std::ops::Range<usize>> {
    let stack = vec![0_u8; len].leak();
    let range = stack.as_ptr_range();
    let wanted = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: len };
    // SAFETY: the memory was leaked, so it stays valid for ever.
    check(unsafe { libc::sigaltstack(&raw const wanted, ptr::null_mut()) })?;
    Ok(range.start.addr()..range.end.addr())
}

/// Address, flags and length of the alternate stack.
pub fn alt_stack() -> io::Result<(usize, i32, usize)> {
    let mut now = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: `now` is a valid place for the answer.
    check(unsafe { libc::sigaltstack(ptr::null(), &raw mut now) })?;
    Ok((now.ss_sp.addr(), now.ss_flags, now.ss_size))
}

// ---- memory ----

pub const PAGE: usize = 4096;
pub const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Memory mapped by mmap(2) until the program ends.
pub struct Mapping {
    pub addr: usize,
    pub len: usize,
}

impl Mapping {
    pub fn anonymous(len: usize, flags: i32) -> io::Result<Mapping> {
        Mapping::new(0, len, READ_WRITE, flags | libc::MAP_ANONYMOUS, -1, 0)
    }

    pub fn private(len: usize) -> io::Result<Mapping> {
        Mapping::anonymous(len, libc::MAP_PRIVATE)
    }

    pub fn shared(len: usize) -> io::Result<Mapping> {
        Mapping::anonymous(len, libc::MAP_SHARED)
    }

    pub fn file(file: &impl std::os::fd::AsRawFd, len: usize, flags: i32) -> io::Result<Mapping> {
        Mapping::new(0, len, READ_WRITE, flags, file.as_raw_fd(), 0)
    }

    pub fn new(
        addr: usize,
        len: usize,
        protection: i32,
        flags: i32,
        fd: i32,
        offset: usize,
    ) -> io::Result<Mapping> {
        let (protection, flags) = (protection as usize, flags as usize);
        let arguments = [addr, len, protection, flags, fd as usize, offset];
        Ok(Mapping { addr: syscall(libc::SYS_mmap, &arguments)?, len })
    }

    fn place(&self, offset: usize, len: usize) -> *mut u8 {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{offset:#x}+{len:#x} lies outside of the mapping");
        ptr::with_exposed_provenance_mut(self.addr + offset)
    }

    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: the place lies inside our mapping, which nothing in Rust knows of; other
        // processes may write to it, but bytes have no invalid values.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }

    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let place = self.place(offset, len);
        let mut bytes = vec![0; len];
        // SAFETY: as in `write`.
        unsafe { ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), len) };
        bytes
    }

    /// A counter in the mapping that several tasks may use.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        let place = self.place(offset, 4).cast();
        assert!(offset.is_multiple_of(4), "unaligned word");
        // SAFETY: aligned, inside the mapping, and only used through atomics.
        unsafe { AtomicU32::from_ptr(place) }
    }

    /// Fills a range with a pattern that depends on the place and a seed.
    pub fn fill(&self, offset: usize, len: usize, seed: u8) {
        self.write(offset, &pattern(offset, len, seed));
    }

    pub fn check(&self, offset: usize, len: usize, seed: u8) -> Verdict {
        let same = self.read(offset, len) == pattern(offset, len, seed);
        anyhow::ensure!(same, "bytes at {offset:#x}+{len:#x} changed (pattern {seed})");
        Ok(())
    }

    pub fn check_zero(&self, offset: usize, len: usize) -> Verdict {
        let zero = self.read(offset, len).iter().all(|&byte| byte == 0);
        anyhow::ensure!(zero, "bytes at {offset:#x}+{len:#x} are not zero");
        Ok(())
    }

    pub fn protect(&self, offset: usize, len: usize, protection: i32) -> io::Result<()> {
        let arguments = [self.addr + offset, len, protection as usize];
        syscall(libc::SYS_mprotect, &arguments).map(drop)
    }

    pub fn advise(&self, offset: usize, len: usize, advice: i32) -> io::Result<()> {
        syscall(libc::SYS_madvise, &[self.addr + offset, len, advice as usize]).map(drop)
    }

    pub fn unmap(&self, offset: usize, len: usize) -> io::Result<()> {
        syscall(libc::SYS_munmap, &[self.addr + offset, len]).map(drop)
    }

    /// Whether the kernel can read (or write, with the byte's own value) at a place.
    pub fn readable(&self, offset: usize) -> bool {
        // write(2) from there into a pipe answers EFAULT instead of killing us.
        pipe_through(|fd| syscall(libc::SYS_write, &[fd, self.addr + offset, 1]).is_ok())
    }

    pub fn writable(&self, offset: usize) -> bool {
        let now = clock_target(self.addr + offset);
        now.is_ok()
    }
}

fn pipe_through(try_it: impl FnOnce(usize) -> bool) -> bool {
    let Ok((_reader, writer)) = io::pipe() else { return false };
    let fd = std::os::fd::AsRawFd::as_raw_fd(&writer) as usize;
    try_it(fd)
}

/// Lets the kernel write eight bytes of a clock's resolution to an address.
fn clock_target(addr: usize) -> io::Result<()> {
    syscall(libc::SYS_time, &[addr]).map(drop)
}

fn pattern(offset: usize, len: usize, seed: u8) -> Vec<u8> {
    let byte = |at: usize| (at as u8) ^ ((at / PAGE) as u8).wrapping_mul(31) ^ seed | 1;
    (offset..offset + len).map(byte).collect()
}

/// Moves the end of the heap by `by` bytes and returns what is new.
pub fn grow_heap(by: usize) -> io::Result<Mapping> {
    // Not the bare brk(2): the C library's allocator must know that the end has moved.
    // SAFETY: memory is only added.
    let end = unsafe { libc::sbrk(by as isize) }.addr();
    if end == usize::MAX {
        Err(io::Error::last_os_error())
    } else {
        Ok(Mapping { addr: end, len: by })
    }
}

// ---- futex(2) ----

pub fn futex_wait(word: &AtomicU32, value: u32, timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map(timespec);
    let limit = timeout.as_ref().map_or(0, at);
    let operation = libc::FUTEX_WAIT as usize;
    syscall(libc::SYS_futex, &[at(word), operation, value as usize, limit]).map(drop)
}

pub fn futex_wake(word: &AtomicU32) -> io::Result<usize> {
    syscall(libc::SYS_futex, &[at(word), libc::FUTEX_WAKE as usize, i32::MAX as usize])
}

// ---- registers ----

/// The busy loops below run until this is not 0; they make no system call.
pub static LET_GO: AtomicU32 = AtomicU32::new(0);
/// How often a busy loop went round.
pub static ROUNDS: AtomicU64 = AtomicU64::new(0);

/// Holds the values in general registers in a busy loop; returns what is in them afterwards.
pub fn hold_integers(values: &[u64; 13]) -> [u64; 13] {
    let mut after = *values;
    // SAFETY: the block restores rbx, rbp and the stack pointer, names every other register it
    // changes, and touches only `after` and the two statics.
    unsafe {
        std::arch::asm!(
            "push rbx", "push rbp", "push rax",
            "mov rbx, [rax]", "mov rcx, [rax + 8]", "mov rdx, [rax + 16]",
            "mov rsi, [rax + 24]", "mov rdi, [rax + 32]", "mov rbp, [rax + 40]",
            "mov r8, [rax + 48]", "mov r9, [rax + 56]", "mov r10, [rax + 64]",
            "mov r11, [rax + 72]", "mov r12, [rax + 80]", "mov r13, [rax + 88]",
            "mov r14, [rax + 96]",
            "2: inc qword ptr [rip + {rounds}]",
            "cmp dword ptr [rip + {let_go}], 0", "je 2b",
            "mov rax, [rsp]",
            "mov [rax], rbx", "mov [rax + 8], rcx", "mov [rax + 16], rdx",
            "mov [rax + 24], rsi", "mov [rax + 32], rdi", "mov [rax + 40], rbp",
            "mov [rax + 48], r8", "mov [rax + 56], r9", "mov [rax + 64], r10",
            "mov [rax + 72], r11", "mov [rax + 80], r12", "mov [rax + 88], r13",
            "mov [rax + 96], r14",
            "pop rax", "pop rbp", "pop rbx",
            rounds = sym ROUNDS, let_go = sym LET_GO,
            inout("rax") after.as_mut_ptr() => _,
            out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _,
        );
    }
    after
}

/// Holds flags (carry, direction and others that user mode may change) in a busy loop.
pub fn hold_flags(flags: u64) -> u64 {
    let after;
    // SAFETY: the block uses the stack for one word, and clears the direction flag at its end, as
    // the compiler expects.
    unsafe {
        std::arch::asm!(
            "push {flags}", "popfq",
            // A loop that looks without changing flags: jrcxz needs none.
            "2: mov ecx, dword ptr [rip + {let_go}]", "jrcxz 2b",
            "pushfq", "pop {flags}", "cld",
            flags = inout(reg) flags => after, let_go = sym LET_GO, out("rcx") _,
        );
    }
    after
}

macro_rules! hold_vectors {
    ($name:ident, $feature:literal, $mov:literal, $reg:literal, $len:literal, $count:literal,
     [$($n:literal)*]) => {
        /// Holds the values in vector registers in a busy loop; returns what is in them afterwards.
        pub fn $name(values: &[[u8; $len]; $count]) -> [[u8; $len]; $count] {
            #[target_feature(enable = $feature)]
            fn hold(values: &mut [[u8; $len]; $count]) {
                // SAFETY: all vector registers are named as changed; only `values` and the static
                // are touched.
                unsafe {
                    std::arch::asm!(
                        $(concat!($mov, " ", $reg, $n, ", [{values} + ", $n, " * ", $len, "]"),)*
                        "2: cmp dword ptr [rip + {let_go}], 0", "je 2b",
                        $(concat!($mov, " [{values} + ", $n, " * ", $len, "], ", $reg, $n),)*
                        values = in(reg) values.as_mut_ptr(), let_go = sym LET_GO,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
                        out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _,
                        out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _,
                        out("xmm14") _, out("xmm15") _,
                    );
                }
            }
            let mut after = *values;
            // SAFETY: the caller asked the processor for the feature.
            unsafe { hold(&mut after) };
            after
        }
    };
}

hold_vectors!(hold_sse, "sse2", "movups", "xmm", 16, 16,
    [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]);
hold_vectors!(hold_avx, "avx", "vmovups", "ymm", 32, 16,
    [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]);

/// Holds the upper sixteen 512-bit registers and the mask registers.
pub fn hold_avx512(values: &[[u8; 64]; 16], masks: &[u64; 7]) -> ([[u8; 64]; 16], [u64; 7]) {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn hold(values: &mut [[u8; 64]; 16], masks: &mut [u64; 7]) {
        // SAFETY: all registers are named as changed; only the arrays and the static are touched.
        unsafe {
            std::arch::asm!(
                "vmovups zmm16, [{v}]", "vmovups zmm17, [{v} + 64]",
                "vmovups zmm18, [{v} + 128]", "vmovups zmm19, [{v} + 192]",
                "vmovups zmm20, [{v} + 256]", "vmovups zmm21, [{v} + 320]",
                "vmovups zmm22, [{v} + 384]", "vmovups zmm23, [{v} + 448]",
                "vmovups zmm24, [{v} + 512]", "vmovups zmm25, [{v} + 576]",
                "vmovups zmm26, [{v} + 640]", "vmovups zmm27, [{v} + 704]",
                "vmovups zmm28, [{v} + 768]", "vmovups zmm29, [{v} + 832]",
                "vmovups zmm30, [{v} + 896]", "vmovups zmm31, [{v} + 960]",
                "kmovq k1, [{m}]", "kmovq k2, [{m} + 8]", "kmovq k3, [{m} + 16]",
                "kmovq k4, [{m} + 24]", "kmovq k5, [{m} + 32]", "kmovq k6, [{m} + 40]",
                "kmovq k7, [{m} + 48]",
                "2: cmp dword ptr [rip + {let_go}], 0", "je 2b",
                "vmovups [{v}], zmm16", "vmovups [{v} + 64], zmm17",
                "vmovups [{v} + 128], zmm18", "vmovups [{v} + 192], zmm19",
                "vmovups [{v} + 256], zmm20", "vmovups [{v} + 320], zmm21",
                "vmovups [{v} + 384], zmm22", "vmovups [{v} + 448], zmm23",
                "vmovups [{v} + 512], zmm24", "vmovups [{v} + 576], zmm25",
                "vmovups [{v} + 640], zmm26", "vmovups [{v} + 704], zmm27",
                "vmovups [{v} + 768], zmm28", "vmovups [{v} + 832], zmm29",
                "vmovups [{v} + 896], zmm30", "vmovups [{v} + 960], zmm31",
                "kmovq [{m}], k1", "kmovq [{m} + 8], k2", "kmovq [{m} + 16], k3",
                "kmovq [{m} + 24], k4", "kmovq [{m} + 32], k5", "kmovq [{m} + 40], k6",
                "kmovq [{m} + 48], k7",
                v = in(reg) values.as_mut_ptr(), m = in(reg) masks.as_mut_ptr(),
                let_go = sym LET_GO,
                out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _, out("zmm20") _,
                out("zmm21") _, out("zmm22") _, out("zmm23") _, out("zmm24") _, out("zmm25") _,
                out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _, out("zmm30") _,
                out("zmm31") _, out("k1") _, out("k2") _, out("k3") _, out("k4") _, out("k5") _,
                out("k6") _, out("k7") _,
            );
        }
    }
    let (mut values, mut masks) = (*values, *masks);
    // SAFETY: the caller asked the processor for the features.
    unsafe { hold(&mut values, &mut masks) };
    (values, masks)
}

/// Holds seven numbers on the x87 stack and a control word in a busy loop.
pub fn hold_x87(values: &[f64; 7], control: u16) -> ([f64; 7], u16) {
    let (mut after, mut word, usual) = (*values, control, 0x037f_u16);
    // SAFETY: the stack of the x87 unit is empty again at the end and its usual control word set.
    unsafe {
        std::arch::asm!(
            "fninit", "fldcw word ptr [{word}]",
            "fld qword ptr [{v}]", "fld qword ptr [{v} + 8]", "fld qword ptr [{v} + 16]",
            "fld qword ptr [{v} + 24]", "fld qword ptr [{v} + 32]", "fld qword ptr [{v} + 40]",
            "fld qword ptr [{v} + 48]",
            "2: cmp dword ptr [rip + {let_go}], 0", "je 2b",
            "fnstcw word ptr [{word}]",
            "fstp qword ptr [{v} + 48]", "fstp qword ptr [{v} + 40]", "fstp qword ptr [{v} + 32]",
            "fstp qword ptr [{v} + 24]", "fstp qword ptr [{v} + 16]", "fstp qword ptr [{v} + 8]",
            "fstp qword ptr [{v}]",
            "fldcw word ptr [{usual}]",
            v = in(reg) after.as_mut_ptr(), word = in(reg) &raw mut word,
            usual = in(reg) &raw const usual, let_go = sym LET_GO,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _,
            out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    (after, word)
}

/// Holds a value in MXCSR in a busy loop.
pub fn hold_mxcsr(value: u32) -> u32 {
    let (mut after, mut before) = (value, 0_u32);
    // SAFETY: the register has its former value again at the end; between there is no arithmetic.
    unsafe {
        std::arch::asm!(
            "stmxcsr [{before}]", "ldmxcsr [{after}]",
            "2: cmp dword ptr [rip + {let_go}], 0", "je 2b",
            "stmxcsr [{after}]", "ldmxcsr [{before}]",
            after = in(reg) &raw mut after, before = in(reg) &raw mut before, let_go = sym LET_GO,
        );
    }
    after
}

/// The GS base, which nothing in a 64-bit program uses (arch_prctl(2)).
pub fn gs_base() -> io::Result<u64> {
    let mut base = 0_u64;
    syscall(libc::SYS_arch_prctl, &[0x1004, into(&mut base)])?;
    Ok(base)
}

pub fn set_gs_base(base: u64) -> io::Result<()> {
    syscall(libc::SYS_arch_prctl, &[0x1001, base as usize]).map(drop)
}

// ---- threads' own kernel state ----

/// The restartable-sequences area that the C library registered, if it did: address and length.
pub fn rseq_area() -> Option<(usize, u32)> {
    unsafe extern "C" {
        static __rseq_offset: isize;
        static __rseq_size: u32;
    }
    // SAFETY: set once before `main`, read-only since.
    let size = unsafe { __rseq_size };
    // SAFETY: as above.
    let offset = unsafe { __rseq_offset };
    let thread_pointer: usize;
    // SAFETY: the first word of the thread's control block is its own address (x86-64 ABI).
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) thread_pointer) };
    (size > 0).then(|| (thread_pointer.wrapping_add_signed(offset), size))
}

/// A word at an address that the kernel keeps up to date for us.
pub fn peek(addr: usize) -> u32 {
    let place: *const u32 = ptr::with_exposed_provenance(addr);
    // SAFETY: the callers pass addresses of their own control block.
    unsafe { place.read_volatile() }
}

/// Calls a function far down the stack, so that the stack must have grown.
pub fn use_stack(kib: usize, at_the_bottom: &mut dyn FnMut() -> Verdict) -> Verdict {
    let mut block = [kib as u8; 1024];
    std::hint::black_box(&mut block);
    if kib == 0 {
        at_the_bottom()?
    } else {
        use_stack(kib - 1, at_the_bottom)?
    }
    anyhow::ensure!(block.iter().all(|&b| b == kib as u8), "the stack changed {kib} KiB above");
    Ok(())
}
