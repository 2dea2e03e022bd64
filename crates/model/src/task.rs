//! Processes and their threads.

use crate::{
    AddressSpace, FileId, IntervalTimer, NsPid, PendingSignal, PosixTimer, Registers, SignalAction,
    SignalMask, TableId, Time,
};

/// One process of the tree, live or a zombie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: NsPid,
    /// `None` for the root of the tree.
    pub parent: Option<NsPid>,
    pub group: NsPid,
    pub session: NsPid,
    /// `/proc/PID/comm`, at most 15 bytes.
    pub name: Vec<u8>,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Runs or sleeps; `stopped_by` if job control has stopped it.
    Live { live: Box<Live>, stopped_by: Option<i32> },
    /// Ended and not yet waited for.
    Zombie { wait_status: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The first one is the leader, whose id is the process id.
    pub threads: Vec<Thread>,
    pub memory: AddressSpace,
    pub fs: FsContext,
    pub descriptors: TableId,
    /// For signal n at index n-1; `SIGKILL` and `SIGSTOP` have the default one.
    pub signal_actions: [SignalAction; 64],
    /// Sent to the process, not to one thread.
    pub pending: Vec<PendingSignal>,
    pub itimer_real: IntervalTimer,
    pub itimer_virtual: IntervalTimer,
    pub itimer_prof: IntervalTimer,
    pub posix_timers: Vec<PosixTimer>,
    /// At index `RLIMIT_*`; may be empty in foreign checkpoints (then inherited).
    pub limits: Vec<Limit>,
    pub personality: u32,
    /// `PF_*`, informative.
    pub kernel_flags: u32,
    pub oom_score_adj: Option<i32>,
    pub login_uid: Option<u32>,
    pub child_subreaper: bool,
    /// membarrier(2) registrations.
    pub membarrier: u32,
}

impl Live {
    pub fn leader(&self) -> &Thread {
        self.threads.first().expect("a live process has a leader (checked by Tree::validate)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    pub tid: NsPid,
    pub name: Vec<u8>,
    pub registers: Registers,
    /// set_tid_address(2).
    pub clear_child_tid: u64,
    pub blocked: SignalMask,
    pub pending: Vec<PendingSignal>,
    pub alt_stack: AltStack,
    pub robust_list: RobustList,
    pub rseq: Option<Rseq>,
    pub scheduling: Scheduling,
    pub parent_death_signal: Option<i32>,
    pub credentials: Credentials,
    pub seccomp: SeccompMode,
    /// The system call whose kernel-side restart data does not survive, if the thread was in one.
    pub interrupted: Option<InterruptedCall>,
}

/// A call that slept with a time-out when the thread was stopped.
///
/// The registers of the thread already say "returned with `EINTR`", which is what programs that know
/// nothing of this would see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptedCall {
    pub number: u64,
    pub arguments: [u64; 6],
    /// `None` if it could not be found out: the call starts anew.
    pub remaining: Option<Time>,
}

/// sigaltstack(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AltStack {
    pub base: u64,
    pub size: u64,
    pub flags: u32,
}

impl Default for AltStack {
    /// None: `SS_DISABLE`.
    fn default() -> Self {
        AltStack { base: 0, size: 0, flags: 2 }
    }
}

/// set_robust_list(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RobustList {
    pub head: u64,
    pub len: u32,
}

/// rseq(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rseq {
    pub address: u64,
    pub size: u32,
    pub signature: u32,
    /// Only for a critical section that must not be restarted by signals.
    pub critical_section: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    pub nice: i32,
    /// `SCHED_*`, with `SCHED_RESET_ON_FORK` if set.
    pub policy: u32,
    pub priority: u32,
    /// Class and level as ioprio_set(2) takes them; `None` if none was set.
    pub io_priority: Option<u32>,
    /// Bit mask of the processors that the thread is bound to, lowest first; `None` if it is not bound.
    pub processors: Option<Vec<u64>>,
    /// `None` if the checkpoint does not tell.
    pub timer_slack_ns: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    /// `None` if the checkpoint does not tell: as inherited.
    pub groups: Option<Vec<u32>>,
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
    pub securebits: u32,
    pub no_new_privs: bool,
    pub lsm_profile: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeccompMode {
    #[default]
    Disabled,
    Strict,
    /// Index of the thread's oldest filter in [`crate::Tree::seccomp_filters`].
    Filter {
        oldest: usize,
    },
}

/// A filter and the one that was installed after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeccompFilter {
    /// Array of `struct sock_filter`.
    pub program: Vec<u8>,
    pub flags: u32,
    pub next_newer: Option<usize>,
}

/// getrlimit(2); infinity is all ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

/// Working directory, root and umask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsContext {
    pub cwd: FileId,
    pub root: FileId,
    pub umask: Option<u32>,
}
