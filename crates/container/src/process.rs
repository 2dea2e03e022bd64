//! Processes that are named in a record: by pid *and* start time *and* boot, since pids are reused.

use std::{fs, os::fd::OwnedFd};

use rustix::process::{
    Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Context, Result},
    record::boot_id,
};

/// Names one process of this or an earlier boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// Clock ticks after boot (proc_pid_stat(5), field 22).
    pub start_ticks: u64,
    pub boot_id: String,
}

impl ProcessId {
    /// Looks at the process that has `pid` now; `None` if there is none.
    pub fn probe(pid: i32) -> Option<ProcessId> {
        let stat = Stat::probe(pid)?;
        Some(ProcessId { pid, start_ticks: stat.start_ticks, boot_id: boot_id() })
    }

    /// Does this very process still run? A zombie does not.
    pub fn is_alive(&self) -> bool {
        self.boot_id == boot_id()
            && Stat::probe(self.pid)
                .is_some_and(|now| now.start_ticks == self.start_ticks && now.state != 'Z')
    }

    /// Does this very process still have all that a task has? One that is about to become a zombie has
    /// given up its namespaces and its root already.
    pub fn is_whole(&self) -> bool {
        self.is_alive() && Stat::probe(self.pid).is_some_and(|now| now.flags & EXITING == 0)
    }

    /// A descriptor of this very process; `None` if it is gone.
    pub fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // The descriptor pins the process: if it is the right one now, it stays the right one.
        self.is_alive().then_some(fd)
    }

    /// Sends a signal to this very process; that it is gone is fine.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let Some(fd) = self.open() else { return Ok(()) };
        let Some(signal) = Signal::from_named_raw(signal).or_else(|| named_by_number(signal))
        else {
            return Err(crate::Error::invalid(format!("{signal} is not a signal")));
        };
        match pidfd_send_signal(&fd, signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error).context("send a signal to process", self.pid),
        }
    }
}

impl ProcessId {
    /// Kills this very process with all of its group, if it leads one; that it is gone is fine.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub(crate) fn kill_group(&self) -> Result<()> {
        let pid = Pid::from_raw(self.pid).filter(|_| self.is_alive());
        if let Some(leader) = pid.filter(|pid| getpgid(Some(*pid)) == Ok(*pid)) {
            // Who ended in this moment is no reason to complain.
            let _ = kill_process_group(leader, Signal::KILL);
        }
        self.signal(Signal::KILL.as_raw())
    }
}

/// Real-time signals have no names in rustix.
fn named_by_number(_signal: i32) -> Option<Signal> {
    None
}

/// `PF_EXITING` among the flags of a task (proc_pid_stat(5), field 9).
const EXITING: u64 = 0x4;

struct Stat {
    state: char,
    flags: u64,
    start_ticks: u64,
}

impl Stat {
    fn probe(pid: i32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, in parentheses, may hold anything: what follows starts after the last one.
    fn parse(text: &str) -> Option<Stat> {
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let flags = fields.nth(5)?.parse().ok()?;
        let start_ticks = fields.nth(12)?.parse().ok()?;
        Some(Stat { state, flags, start_ticks })
    }
}

/// Pid of the parent as the caller's pid namespace sees it.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text[text.rfind(')')? + 1..].split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.flags, stat.start_ticks), ('S', 4194560, 12345));
    }

    #[test]
    fn we_are_alive_but_not_with_another_start_time() {
        let me = ProcessId::probe(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { start_ticks: me.start_ticks + 1, ..me.clone() }.is_alive());
        assert!(!ProcessId { boot_id: "another".into(), ..me }.is_alive());
    }
}
