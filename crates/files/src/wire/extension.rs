//! Fields of our own, for what the format has no place for.
//!
//! They are optional fields with numbers from 1000 inside messages that exist anyway. Readers of
//! protocol buffers skip fields they do not know, so that such a checkpoint is still good for every
//! other program; it then loses what it would have lost without them.
//!
//! | message | number | field | why |
//! |---|--:|---|---|
//! | `thread_core_entry` | 1000 | `interrupted_call` | a sleep goes on for the time that remained, instead of failing with `EINTR` |
//! | `creds_entry` | 1000 | `no_groups` | an empty list of groups looks like one that was left out |
//! | `eventfd_file_entry` | 1000 | `semaphore` | `EFD_SEMAPHORE` |
//! | `eventpoll_tfd_entry` | 1000 | `file_id` | the watched file is no longer behind the number it was added under |
//! | `sk_packet_entry` | 1000 | `sender` | recvfrom(2) of a datagram tells its sender |
//! | `sk_opts_entry` | 1000 | `further` | socket options that are not among the format's |
//! | `vma_entry` | 1000 | `locked_on_fault` | `MLOCK_ONFAULT` |
//! | `vma_entry` | 1001 | `name` | `PR_SET_VMA_ANON_NAME` |
//! | `mm_entry` | 1000 | `auxv_rest` | CRIU takes 44 words of the auxiliary vector, kernels give more |
//! | `mm_entry` | 1001 | `protection_keys` | pkey_alloc(2) |
//! | `vma_entry` | 1002 | `protection_key` | pkey_mprotect(2) |
//! | `pipe_data_entry` | 1000 | `packets` | boundaries of packets in a pipe with `O_DIRECT` |
//! | `thread_core_entry` | 1001 | `io_priority` | ioprio_set(2) |
//! | `thread_core_entry` | 1002 | `processors` | sched_setaffinity(2) |
//! | `thread_core_entry` | 1003 | `timer_slack_ns` | prctl(2) `PR_SET_TIMERSLACK` |
//! | `memfd_inode_entry` | 1000 | `named` | a memfd that is really called `/dev/zero`, which else means plain shared memory |
//! | `cpuinfo_x86_entry` | 1000 | `more_capability` | CPUID leaf 7, subleaf 1 |
//! | `ipc_sem_entry` | 1000 | `operated` | programs see by the time of the last semop(2) whether a set is ready for use |

/// A system call with a time-out that was cut short by the freeze.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InterruptedCall {
    /// Number of the system call.
    #[prost(uint64, required, tag = "1")]
    pub number: u64,
    /// Its six arguments.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub arguments: Vec<u64>,
    /// Time that remained, nanoseconds; absent if unknown.
    #[prost(uint64, optional, tag = "3")]
    pub remaining_ns: Option<u64>,
}

/// A socket option that is an `int`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct FurtherOption {
    #[prost(int32, required, tag = "1")]
    pub level: i32,
    #[prost(int32, required, tag = "2")]
    pub name: i32,
    #[prost(int32, required, tag = "3")]
    pub value: i32,
}
