//! How long threads have been asleep: the kernel does not tell how much of a sleep remains, but the
//! scheduler tells when a thread was last on a processor, as long as nobody wakes it.

use std::collections::HashMap;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rustix::{
    process::Pid,
    thread::{ClockId, CpuSet},
};

use stasis_proctext::syscall::{self, Blocked};

use crate::{
    error::Result,
    procdir::{FEW, ProcDir},
};

/// What must be known of a thread that is blocked in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nothing: the time plays no part, or the call tells it itself.
    Nothing,
    /// Since when it sleeps.
    Time,
    /// And in which function of the kernel, since the call does not say what it waits for.
    TimeAndPlace,
}

/// Readings taken before a tree is stopped.
#[derive(Debug, Default)]
pub struct Sleepers {
    /// By host id.
    threads: HashMap<i32, Sleeper>,
}

#[derive(Debug)]
struct Sleeper {
    /// Scheduler's clock at which it fell asleep.
    since: u64,
    processor: usize,
    /// The function of the kernel in which it sleeps, where that was asked for.
    place: Vec<u8>,
}

impl Sleepers {
    /// Takes a reading of the threads of a process that sleep in a call of which `watch` wants to know
    /// something; those that run are passed over.
    ///
    /// # Errors
    /// [`crate::Error::Died`] if it is gone.
    pub fn look_at(&mut self, proc: &ProcDir, watch: fn(&Blocked) -> Watch) -> Result<()> {
        let threads = proc.threads()?;
        let look = |tid: &i32| Some((*tid, read(proc, *tid, watch)?));
        let asleep: Vec<_> = match threads.len() {
            ..FEW => threads.iter().filter_map(look).collect(),
            _ => threads.par_iter().filter_map(look).collect(),
        };
        self.threads.extend(asleep);
        Ok(())
    }

    /// Adds readings of other threads.
    pub fn add(&mut self, others: Sleepers) {
        self.threads.extend(others.threads);
    }

    /// Nanoseconds of `CLOCK_MONOTONIC` at which the thread fell asleep; `None` if it was not asleep
    /// or the kernel does not tell.
    pub fn asleep_since(&self, tid: i32) -> Option<u64> {
        let sleeper = self.threads.get(&tid)?;
        let (scheduler, monotonic) = clocks_of(sleeper.processor)?;
        // Both clocks count nanoseconds at one rate; only their zeros differ.
        monotonic.checked_sub(scheduler.checked_sub(sleeper.since)?)
    }

    /// Whether the thread slept in a function of the kernel whose name contains `part`.
    pub fn slept_in(&self, tid: i32, part: &str) -> bool {
        let in_place = |sleeper: &Sleeper| {
            sleeper.place.windows(part.len()).any(|window| window == part.as_bytes())
        };
        self.threads.get(&tid).is_some_and(in_place)
    }
}

fn read(proc: &ProcDir, tid: i32, watch: fn(&Blocked) -> Watch) -> Option<Sleeper> {
    let task = format!("task/{tid}");
    let call = |text: &[u8]| Ok(syscall::parse(text));
    let wanted = match proc.parse_record(format!("{task}/syscall"), call) {
        Ok(call) => call.map_or(Watch::Nothing, |call| watch(&call)),
        // A kernel that does not tell the call makes us look at all.
        Err(_) => Watch::TimeAndPlace,
    };
    if wanted == Watch::Nothing {
        return None;
    }
    let processor = sleeping_on(&proc.read_record(format!("{task}/stat")).ok()?)?;
    let sched = proc.read_record(format!("{task}/sched")).ok()?;
    let place = match wanted {
        Watch::TimeAndPlace => proc.read_record(format!("{task}/wchan")).unwrap_or_default(),
        Watch::Time | Watch::Nothing => Vec::new(),
    };
    let since = stasis_proctext::sched::exec_start_ns(&sched)?;
    Some(Sleeper { since, processor, place })
}

/// The processor of a thread in state `S`.
fn sleeping_on(stat: &[u8]) -> Option<usize> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat[close + 1..].trim_ascii().split(|byte| *byte == b' ');
    if fields.next()? != b"S" {
        return None;
    }
    // Field 39 of proc_pid_stat(5); the state was field 3.
    std::str::from_utf8(fields.nth(35)?).ok()?.parse().ok()
}

/// The scheduler's clock of one processor and `CLOCK_MONOTONIC` at the same instant.
///
/// The scheduler keeps a clock for each processor, so we go there and look at ourselves.
fn clocks_of(processor: usize) -> Option<(u64, u64)> {
    let me = None::<Pid>;
    let before = rustix::thread::sched_getaffinity(me).ok()?;
    let mut there = CpuSet::new();
    there.set(processor);
    rustix::thread::sched_setaffinity(me, &there).ok()?;
    let reading = read_clocks();
    // Back to where we may be; a failure leaves us slower, not wrong.
    let _ = rustix::thread::sched_setaffinity(me, &before);
    reading
}

fn read_clocks() -> Option<(u64, u64)> {
    // A short sleep makes the scheduler note the time at which we run on.
    std::thread::sleep(std::time::Duration::from_micros(1));
    let monotonic = monotonic_ns();
    let text = std::fs::read("/proc/thread-self/sched").ok()?;
    let scheduler = stasis_proctext::sched::exec_start_ns(&text)?;
    Some((scheduler, monotonic))
}

/// `CLOCK_MONOTONIC`
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000) + nanoseconds
}
