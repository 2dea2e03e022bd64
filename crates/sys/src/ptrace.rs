//! ptrace(2): seizing, stopping and inspecting threads.
//!
//! All requests for a tracee must come from the thread that seized it.

use std::{
    mem::MaybeUninit,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    cpuid,
    errno::{Errno, Result, cvt},
};

/// Options of `PTRACE_SEIZE` and `PTRACE_SETOPTIONS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options(u64);

impl Options {
    pub const NONE: Options = Options(0);
    /// System-call stops bear `SIGTRAP | 0x80`.
    pub const SYSCALL_GOOD: Options = Options(0x1);
    pub const TRACE_EXEC: Options = Options(0x10);
    /// The tracee is killed when its tracer ends: only for blanks.
    pub const EXIT_KILL: Options = Options(0x10_0000);
    /// The tracee's seccomp filters rest; needs `CAP_SYS_ADMIN`.
    pub const SUSPEND_SECCOMP: Options = Options(0x20_0000);

    #[must_use]
    pub fn and(self, other: Options) -> Options {
        Options(self.0 | other.0)
    }
}

/// `struct user_regs_struct` of x86-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UserRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub bp: u64,
    pub bx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub ax: u64,
    pub cx: u64,
    pub dx: u64,
    pub si: u64,
    pub di: u64,
    pub orig_ax: u64,
    pub ip: u64,
    pub cs: u64,
    pub flags: u64,
    pub sp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// What a thread registered with rseq(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RseqConfiguration {
    pub address: u64,
    pub size: u32,
    pub signature: u32,
    pub flags: u32,
    pad: u32,
}

/// Which queue of pending signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Thread,
    Process,
}

const PEEKSIGINFO_SHARED: u32 = 1;
const SEIZE: u32 = 0x4206;
const INTERRUPT: u32 = 0x4207;
const LISTEN: u32 = 0x4208;
const PEEKSIGINFO: u32 = 0x4209;
const GETSIGMASK: u32 = 0x420a;
const SETSIGMASK: u32 = 0x420b;
const SECCOMP_GET_FILTER: u32 = 0x420c;
const GET_RSEQ_CONFIGURATION: u32 = 0x420f;
const NT_X86_XSTATE: usize = 0x202;

/// Attaches to a thread without stopping it.
///
/// # Errors
/// `EPERM` if it is traced already, a zombie, or out of our reach; `ESRCH` if it does not exist.
pub fn seize(tid: i32, options: Options) -> Result<()> {
    // SAFETY: PTRACE_SEIZE takes no pointers.
    cvt(unsafe { libc::ptrace(SEIZE, tid, 0usize, options.0) }).map(drop)
}

/// Asks a seized thread to stop; the stop is reported by `wait`.
pub fn interrupt(tid: i32) -> Result<()> {
    // SAFETY: PTRACE_INTERRUPT takes no pointers.
    cvt(unsafe { libc::ptrace(INTERRUPT, tid, 0usize, 0usize) }).map(drop)
}

/// Lets a stopped thread run, delivering `signal` (0 for none) to it.
pub fn cont(tid: i32, signal: i32) -> Result<()> {
    // SAFETY: PTRACE_CONT takes a number.
    cvt(unsafe { libc::ptrace(libc::PTRACE_CONT, tid, 0usize, i64::from(signal)) }).map(drop)
}

/// Lets a stopped thread run to the next entry to or exit from a system call.
pub fn cont_to_syscall(tid: i32) -> Result<()> {
    // SAFETY: PTRACE_SYSCALL takes a number.
    cvt(unsafe { libc::ptrace(libc::PTRACE_SYSCALL, tid, 0usize, 0usize) }).map(drop)
}

/// Leaves a thread in its group stop but listens for its end (ptrace(2), "Group-stop").
pub fn listen(tid: i32) -> Result<()> {
    // SAFETY: PTRACE_LISTEN takes no pointers.
    cvt(unsafe { libc::ptrace(LISTEN, tid, 0usize, 0usize) }).map(drop)
}

/// Gives a stopped thread back to itself, delivering `signal` (0 for none).
pub fn detach(tid: i32, signal: i32) -> Result<()> {
    // SAFETY: PTRACE_DETACH takes a number.
    cvt(unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, 0usize, i64::from(signal)) }).map(drop)
}

pub fn set_options(tid: i32, options: Options) -> Result<()> {
    // SAFETY: PTRACE_SETOPTIONS takes a number.
    cvt(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, tid, 0usize, options.0) }).map(drop)
}

/// The general registers of a stopped thread.
pub fn registers(tid: i32) -> Result<UserRegs> {
    let mut regs = UserRegs::default();
    // SAFETY: `regs` has the layout of `struct user_regs_struct` and lives across the call.
    cvt(unsafe { libc::ptrace(libc::PTRACE_GETREGS, tid, 0usize, &raw mut regs) })?;
    Ok(regs)
}

/// Sets the general registers of a stopped thread.
pub fn set_registers(tid: i32, regs: &UserRegs) -> Result<()> {
    // SAFETY: `regs` has the layout of `struct user_regs_struct`; the kernel only reads it.
    cvt(unsafe { libc::ptrace(libc::PTRACE_SETREGS, tid, 0usize, &raw const *regs) }).map(drop)
}

/// More than the XSAVE area of any processor of today, which is below 12 KiB.
const LONGEST_XSAVE_AREA: usize = 16 * 1024;

/// The XSAVE area of a stopped thread in the standard format.
pub fn xsave_area(tid: i32) -> Result<Vec<u8>> {
    let mut buffer = [0; LONGEST_XSAVE_AREA];
    let len = read_xsave_area(tid, &mut buffer)?;
    Ok(buffer[..len].to_vec())
}

/// The same, cut off behind the last component in use: what would follow is in its initial state. It is three
/// quarters of the area on a processor whose matrix tiles (AMX) nobody uses.
pub fn xsave_area_in_use(tid: i32) -> Result<Vec<u8>> {
    // As much as the last thread needed is asked for first: most threads use the same.
    static USUAL: AtomicUsize = AtomicUsize::new(LONGEST_XSAVE_AREA);
    let mut buffer = [0; LONGEST_XSAVE_AREA];
    let mut len = read_xsave_area(tid, &mut buffer[..USUAL.load(Ordering::Relaxed)])?;
    let mut end = cpuid::end_of_use(&buffer[..len]);
    if end > len {
        len = read_xsave_area(tid, &mut buffer)?;
        end = cpuid::end_of_use(&buffer[..len]).min(len);
    }
    USUAL.store(end.next_multiple_of(size_of::<u64>()), Ordering::Relaxed);
    Ok(buffer[..end].to_vec())
}

fn read_xsave_area(tid: i32, buffer: &mut [u8]) -> Result<usize> {
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `iov` describes `buffer`, which lives across the call; the kernel writes at most
    // `iov_len` bytes and puts the count there.
    cvt(unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, NT_X86_XSTATE, &raw mut iov) })?;
    Ok(iov.iov_len)
}

/// Sets the XSAVE area of a stopped thread (standard format).
pub fn set_xsave_area(tid: i32, area: &[u8]) -> Result<()> {
    let iov = libc::iovec { iov_base: area.as_ptr().cast_mut().cast(), iov_len: area.len() };
    // SAFETY: `iov` describes `area`; PTRACE_SETREGSET only reads it.
    cvt(unsafe { libc::ptrace(libc::PTRACE_SETREGSET, tid, NT_X86_XSTATE, &raw const iov) })
        .map(drop)
}

/// The blocked signals of a stopped thread, bit n-1 for signal n.
pub fn signal_mask(tid: i32) -> Result<u64> {
    let mut mask = 0u64;
    // SAFETY: the kernel writes the 8 bytes that the third argument announces.
    cvt(unsafe { libc::ptrace(GETSIGMASK, tid, 8usize, &raw mut mask) })?;
    Ok(mask)
}

pub fn set_signal_mask(tid: i32, mask: u64) -> Result<()> {
    // SAFETY: the kernel reads the 8 bytes that the third argument announces.
    cvt(unsafe { libc::ptrace(SETSIGMASK, tid, 8usize, &raw const mask) }).map(drop)
}

/// The signals that wait for a stopped thread or its process, without taking them.
pub fn pending_signals(tid: i32, queue: Queue) -> Result<Vec<[u8; 128]>> {
    #[repr(C)]
    struct Args {
        offset: u64,
        flags: u32,
        count: i32,
    }
    const CHUNK: usize = 32;
    let mut signals = Vec::new();
    loop {
        let args = Args {
            offset: signals.len() as u64,
            flags: if queue == Queue::Process { PEEKSIGINFO_SHARED } else { 0 },
            count: CHUNK as i32,
        };
        let mut chunk = [[0u8; 128]; CHUNK];
        // SAFETY: `args` is read; at most `count` records of 128 bytes are written to `chunk`.
        let got =
            cvt(unsafe { libc::ptrace(PEEKSIGINFO, tid, &raw const args, chunk.as_mut_ptr()) })?;
        let got = usize::try_from(got).unwrap_or(0).min(CHUNK);
        signals.extend_from_slice(&chunk[..got]);
        if got < CHUNK {
            return Ok(signals);
        }
    }
}

/// The signal that stopped the thread, as a raw `siginfo_t`.
pub fn stop_signal_info(tid: i32) -> Result<[u8; 128]> {
    let mut info = [0u8; 128];
    // SAFETY: the kernel writes one `siginfo_t` of 128 bytes.
    cvt(unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, 0usize, info.as_mut_ptr()) })?;
    Ok(info)
}

/// Filter number `index` of a stopped thread, the oldest being 0; `None` past the newest.
pub fn seccomp_filter(tid: i32, index: usize) -> Result<Option<Vec<u8>>> {
    // SAFETY: with a null pointer the kernel only tells the number of instructions.
    let count = match cvt(unsafe { libc::ptrace(SECCOMP_GET_FILTER, tid, index, 0usize) }) {
        Ok(count) => usize::try_from(count).unwrap_or(0),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut program = vec![0u8; count * 8];
    // SAFETY: `program` has room for the instructions just counted; the thread is stopped, so its
    // filters do not change meanwhile.
    cvt(unsafe { libc::ptrace(SECCOMP_GET_FILTER, tid, index, program.as_mut_ptr()) })?;
    Ok(Some(program))
}

pub fn rseq_configuration(tid: i32) -> Result<RseqConfiguration> {
    let mut configuration = MaybeUninit::<RseqConfiguration>::zeroed();
    let size = size_of::<RseqConfiguration>();
    // SAFETY: the kernel writes at most `size` bytes of the structure.
    cvt(unsafe { libc::ptrace(GET_RSEQ_CONFIGURATION, tid, size, configuration.as_mut_ptr()) })?;
    // SAFETY: all bit patterns of these integers are valid, and it was zeroed before.
    Ok(unsafe { configuration.assume_init() })
}
