//! State of a process and its threads.

use super::{
    aarch64::ThreadInfoAarch64,
    creds::CredsEntry,
    extension::InterruptedCall,
    pstree::TaskKobjIdsEntry,
    rlimit::TaskRlimitsEntry,
    signal::{SaEntry, SignalQueueEntry},
    timer::TaskTimersEntry,
    x86::ThreadInfoX86,
};

/// `core_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CoreEntry {
    /// Architecture.
    #[prost(uint32, required, tag = "1")]
    pub mtype: u32,
    /// x86 registers and FPU state.
    #[prost(message, optional, tag = "2")]
    pub thread_info: Option<ThreadInfoX86>,
    /// Per-process part.
    #[prost(message, optional, tag = "3")]
    pub tc: Option<TaskCoreEntry>,
    /// Not used any more (ids live in `ids-<pid>.img`).
    #[prost(message, optional, tag = "4")]
    pub ids: Option<TaskKobjIdsEntry>,
    /// Per-thread part.
    #[prost(message, optional, tag = "5")]
    pub thread_core: Option<ThreadCoreEntry>,
    /// aarch64 registers.
    #[prost(message, optional, tag = "8")]
    pub ti_aarch64: Option<ThreadInfoAarch64>,
}

/// `task_core_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TaskCoreEntry {
    /// 1 alive, 2 dead (zombie), 3 stopped.
    #[prost(uint32, required, tag = "1")]
    pub task_state: u32,
    /// Zombie: raw wait status (exit code in bits 8–15, or terminating signal in bits 0–6).
    #[prost(uint32, required, tag = "2")]
    pub exit_code: u32,
    /// `personality(2)` value.
    #[prost(uint32, required, tag = "3")]
    pub personality: u32,
    /// Kernel task flags (PF_*) from `/proc/<pid>/stat` field 9.
    #[prost(uint32, required, tag = "4")]
    pub flags: u32,
    /// Blocked-signal mask of the leader, bit (n−1) = signal n.
    #[prost(uint64, required, tag = "5")]
    pub blk_sigset: u64,
    /// Process name, at most 15 bytes.
    #[prost(bytes = "vec", required, tag = "6")]
    pub comm: Vec<u8>,
    /// Interval and POSIX timers.
    #[prost(message, optional, tag = "7")]
    pub timers: Option<TaskTimersEntry>,
    /// Resource limits.
    #[prost(message, optional, tag = "8")]
    pub rlimits: Option<TaskRlimitsEntry>,
    /// Deprecated location (CRIU < 4); 4.2 writes `thread_core.cg_set` instead.
    #[prost(uint32, optional, tag = "9")]
    pub cg_set: Option<u32>,
    /// Process-wide pending signals.
    #[prost(message, optional, tag = "10")]
    pub signals_s: Option<SignalQueueEntry>,
    /// Old place of `thread_core.seccomp_mode`.
    #[prost(uint32, optional, tag = "11")]
    pub old_seccomp_mode: Option<u32>,
    /// Old place of `thread_core.seccomp_filter`.
    #[prost(uint32, optional, tag = "12")]
    pub old_seccomp_filter: Option<u32>,
    /// Audit login uid; 4294967295 = unset.
    #[prost(uint32, optional, tag = "13")]
    pub loginuid: Option<u32>,
    /// −1000…1000.
    #[prost(int32, optional, tag = "14")]
    pub oom_score_adj: Option<i32>,
    /// Exactly 62 entries: signals 1…64 in order without 9 (KILL) and 19 (STOP).
    #[prost(message, repeated, tag = "15")]
    pub sigactions: Vec<SaEntry>,
    /// PR_SET_CHILD_SUBREAPER flag.
    #[prost(bool, optional, tag = "18")]
    pub child_subreaper: Option<bool>,
    /// Upper mask word, only for architectures with 128 signals (MIPS).
    #[prost(uint64, optional, tag = "20")]
    pub blk_sigset_extended: Option<u64>,
    /// For `task_state` 3: signal that stopped the task.
    #[prost(uint32, optional, tag = "21")]
    pub stop_signo: Option<u32>,
    /// Bit mask of membarrier commands registered by the process (the REGISTER_* command values).
    #[prost(uint32, optional, tag = "22")]
    pub membarrier_registration_mask: Option<u32>,
}

/// `thread_core_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ThreadCoreEntry {
    /// Robust-futex list head address (0 if none).
    #[prost(uint64, required, tag = "1")]
    pub futex_rla: u64,
    /// Size of the head, 24 on 64-bit.
    #[prost(uint32, required, tag = "2")]
    pub futex_rla_len: u32,
    /// Nice value (zig-zag encoded).
    #[prost(sint32, optional, tag = "3")]
    pub sched_nice: Option<i32>,
    /// SCHED_* number, with the SCHED_RESET_ON_FORK bit (0x40000000) if set.
    #[prost(uint32, optional, tag = "4")]
    pub sched_policy: Option<u32>,
    /// Real-time priority.
    #[prost(uint32, optional, tag = "5")]
    pub sched_prio: Option<u32>,
    /// Blocked mask of *non-leader* threads.
    #[prost(uint64, optional, tag = "6")]
    pub blk_sigset: Option<u64>,
    /// Alternate signal stack.
    #[prost(message, optional, tag = "7")]
    pub sas: Option<ThreadSasEntry>,
    /// PR_SET_PDEATHSIG signal, only if non-zero.
    #[prost(uint32, optional, tag = "8")]
    pub pdeath_sig: Option<u32>,
    /// Signals pending for this thread.
    #[prost(message, optional, tag = "9")]
    pub signals_p: Option<SignalQueueEntry>,
    /// Credentials.
    #[prost(message, optional, tag = "10")]
    pub creds: Option<CredsEntry>,
    /// disabled 0, strict 1, filter 2.
    #[prost(uint32, optional, tag = "11")]
    pub seccomp_mode: Option<u32>,
    /// For mode 2: index into `seccomp.img` of this thread's oldest filter.
    #[prost(uint32, optional, tag = "12")]
    pub seccomp_filter: Option<u32>,
    /// Thread name (≤ 15 bytes) of non-leader threads, falling back to `tc.comm` if absent.
    #[prost(bytes = "vec", optional, tag = "13")]
    pub comm: Option<Vec<u8>>,
    /// MIPS only.
    #[prost(uint64, optional, tag = "14")]
    pub blk_sigset_extended: Option<u64>,
    /// Registered restartable-sequences area.
    #[prost(message, optional, tag = "15")]
    pub rseq_entry: Option<RseqEntry>,
    /// Id of the thread's cgroup set (index into `cgroup.img` sets, or equal to the inventory's
    /// `root_cg_set`).
    #[prost(uint32, optional, tag = "16")]
    pub cg_set: Option<u32>,
    /// Extension: a sleeping system call that was cut short, see [`super::extension`].
    #[prost(message, optional, tag = "1000")]
    pub interrupted_call: Option<InterruptedCall>,
    /// Extension: ioprio_set(2), see [`super::extension`].
    #[prost(uint32, optional, tag = "1001")]
    pub io_priority: Option<u32>,
    /// Extension: mask of processors, lowest first, see [`super::extension`].
    #[prost(uint64, repeated, packed = "false", tag = "1002")]
    pub processors: Vec<u64>,
    /// Extension: `PR_SET_TIMERSLACK`, see [`super::extension`].
    #[prost(uint64, optional, tag = "1003")]
    pub timer_slack_ns: Option<u64>,
}

/// `thread_sas_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ThreadSasEntry {
    /// Stack base.
    #[prost(uint64, required, tag = "1")]
    pub ss_sp: u64,
    /// Size, bytes.
    #[prost(uint64, required, tag = "2")]
    pub ss_size: u64,
    /// SS_* flags; 2 = disabled (then sp and size are 0).
    #[prost(uint32, required, tag = "3")]
    pub ss_flags: u32,
}

/// `rseq_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RseqEntry {
    /// User address of the registered `struct rseq`.
    #[prost(uint64, required, tag = "1")]
    pub rseq_abi_pointer: u64,
    /// Its registered size.
    #[prost(uint32, required, tag = "2")]
    pub rseq_abi_size: u32,
    /// Abort-handler signature (x86 glibc: 0x53053053).
    #[prost(uint32, required, tag = "3")]
    pub signature: u32,
    /// Only if the current critical section has NO_RESTART_ON_SIGNAL set: value to put back into
    /// the `rseq_cs` field just before the thread is released.
    #[prost(uint64, optional, tag = "4")]
    pub rseq_cs_pointer: Option<u64>,
}
