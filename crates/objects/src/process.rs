//! What belongs to a process as a whole: actions, timers, limits, names, personality.

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use stasis_model::{
    AddressSpace, Credentials, FsContext, Limit, Live, PendingSignal, SignalMask, Subject,
};
use stasis_proctext::{maps::Mapping, timers::Timer};
use stasis_sys::ptrace::Queue;
use stasis_tracee::{Batch, Blank, Call, Data, Outcome, Patient, ProcDir, Sleepers};

use crate::{
    address_space, credentials, descriptor,
    error::{Error, Result},
    gathering::{Gathering, OpenFd},
    itimer, limit, posix_timer, protection_key, signal,
    thawing::Thawing,
    thread,
};

const BRK: i64 = 12;
const UMASK: i64 = 95;
const FCHDIR: i64 = 81;
const CHROOT: i64 = 161;
const PERSONALITY: i64 = 135;
const PRCTL: i64 = 157;
const MEMBARRIER: i64 = 324;
const MEMBARRIER_CMD_GET_REGISTRATIONS: i32 = 1 << 9;
const PR_GET_DUMPABLE: i32 = 3;
const PR_SET_DUMPABLE: i32 = 4;
const PR_SET_MM: i32 = 35;
const PR_SET_MM_MAP: i32 = 14;
const PR_SET_CHILD_SUBREAPER: i32 = 36;
const PR_GET_CHILD_SUBREAPER: i32 = 37;
const PR_SET_THP_DISABLE: i32 = 41;
const PR_GET_THP_DISABLE: i32 = 42;

struct Asked {
    actions: Data,
    itimers: Data,
    timers: Vec<posix_timer::Asked>,
    brk: Call,
    dumpable: Call,
    thp_disabled: Call,
    subreaper: Data,
    membarrier: Call,
    protection_keys: protection_key::Asked,
}

fn ask(timers: Vec<Timer>, batch: &mut Batch) -> Asked {
    let subreaper = batch.space(8);
    Asked {
        actions: signal::ask_actions(batch),
        itimers: itimer::ask(batch),
        timers: posix_timer::ask(timers, batch),
        brk: batch.call("brk", BRK, [0.into()]),
        dumpable: batch.call("prctl", PRCTL, [PR_GET_DUMPABLE.into()]),
        thp_disabled: batch.try_call("prctl", PRCTL, [PR_GET_THP_DISABLE.into()]),
        membarrier: batch.try_call(
            "membarrier",
            MEMBARRIER,
            [MEMBARRIER_CMD_GET_REGISTRATIONS.into()],
        ),
        protection_keys: protection_key::ask(batch),
        subreaper: {
            batch.call("prctl", PRCTL, [PR_GET_CHILD_SUBREAPER.into(), subreaper.into()]);
            subreaper
        },
    }
}

/// What `/proc` tells of a process that stands. It can be read ahead, by another thread, while others are
/// being frozen.
#[derive(Debug)]
pub struct Texts {
    memory: address_space::Told,
    descriptors: Vec<OpenFd>,
    timers: Vec<Timer>,
    limits: Vec<Limit>,
    personality: u32,
    oom_score_adj: Option<i32>,
    login_uid: Option<i64>,
}

impl Texts {
    /// How many things they tell of, which says how much memory they take.
    pub fn weight(&self) -> usize {
        self.memory.mappings.len() + self.descriptors.len() + self.timers.len()
    }

    /// Reads them before there is a foothold, which would show among the mappings.
    pub fn read(proc: &ProcDir, name: &str) -> Result<Self> {
        Ok(Texts {
            memory: address_space::Told::read(proc)?,
            descriptors: descriptor::look_at_all(proc, name)?,
            timers: posix_timer::list(proc)?,
            limits: limit::freeze(proc)?,
            personality: read_personality(proc)?,
            oom_score_adj: read_number(proc, "oom_score_adj")?,
            login_uid: read_number(proc, "loginuid").ok().flatten(),
        })
    }
}

/// What is seen of a stopped process from outside, while its texts are being read.
#[derive(Debug)]
pub struct Seen {
    pending: Vec<PendingSignal>,
    threads: Vec<thread::Seen>,
}

/// Looks at what can be seen before there is a foothold.
///
/// # Effect on the tracee
/// As [`thread::look_at_all`].
pub fn look(
    patient: &mut Patient,
    (sleepers, stopped_at_ns): (&Sleepers, u64),
    gathering: &mut Gathering,
) -> Result<Seen> {
    let pending = signal::freeze_pending(patient.pid(), Queue::Process)?;
    let moment = thread::Moment { pending: &pending, sleepers, stopped_at_ns };
    let threads = thread::look_at_all(patient, &moment, gathering)?;
    Ok(Seen { pending, threads })
}

/// Freezes a process but for its memory's contents.
///
/// # Effect on the tracee
/// It gets a foothold; each thread executes one batch.
pub fn freeze(
    patient: &mut Patient,
    (seen, texts): (Seen, Texts),
    gathering: &mut Gathering,
) -> Result<Live> {
    let stat = patient.stat().clone();
    crate::terminal::note_process(&stat, gathering);
    let name = String::from_utf8_lossy(&stat.name).into_owned();
    let subject = Subject::Task { pid: patient.pid(), name };
    let (asked, of_threads, outcomes) = question(patient, texts.timers, &texts.memory.mappings)?;
    let outcome = &outcomes[0];
    let what = subject.to_string();
    let value = |call: Call| outcome.result(call).map_err(Error::at(&what, "remote call"));
    let answers = address_space::Answers {
        brk: value(asked.brk)?,
        dumpable: value(asked.dumpable)? as i32,
        thp_disabled: outcome.result(asked.thp_disabled).unwrap_or(0) != 0,
        protection_keys: protection_key::read(outcome, &asked.protection_keys),
    };
    let memory = address_space::freeze((patient, &stat), texts.memory, answers, gathering)?;
    let timers = itimer::read(outcome, asked.itimers);
    let told = of_threads.iter().zip(&outcomes);
    let threads = seen.threads.into_iter().zip(told);
    Ok(Live {
        threads: threads
            .map(|(seen, (asked, outcome))| thread::freeze(seen, asked, outcome))
            .collect::<Result<_>>()?,
        memory,
        fs: freeze_fs(patient, gathering)?,
        descriptors: descriptor::freeze_table(patient, texts.descriptors, gathering)?,
        signal_actions: signal::read_actions(outcome, asked.actions),
        pending: seen.pending,
        itimer_real: timers[0],
        itimer_virtual: timers[1],
        itimer_prof: timers[2],
        posix_timers: posix_timer::read(outcome, &asked.timers, &subject, gathering),
        limits: texts.limits,
        personality: texts.personality,
        kernel_flags: stat.flags,
        oom_score_adj: texts.oom_score_adj,
        login_uid: texts.login_uid.map(|uid| uid as u32),
        child_subreaper: outcome.half(asked.subreaper, 0) != 0,
        membarrier: outcome.result(asked.membarrier).unwrap_or(0) as u32,
    })
}

/// Runs the batches of all threads.
fn question(
    patient: &mut Patient,
    timers: Vec<Timer>,
    mappings: &[Mapping],
) -> Result<(Asked, Vec<thread::Asked>, Vec<Outcome>)> {
    patient.settle(mappings)?;
    let mut of_leader = Batch::new();
    let asked = ask(timers, &mut of_leader);
    let mut of_threads = vec![thread::ask(&mut of_leader)];
    let mut of_others = Batch::new();
    let asked_others = thread::ask(&mut of_others);
    let others = patient.threads().len() - 1;
    of_threads.extend(std::iter::repeat_n(asked_others, others));
    let mut batches = vec![&of_leader];
    batches.extend(std::iter::repeat_n(&of_others, others));
    let outcomes = patient.run(&batches)?;
    for outcome in &outcomes {
        outcome.check()?;
    }
    Ok((asked, of_threads, outcomes))
}

fn freeze_fs(patient: &Patient, gathering: &mut Gathering) -> Result<FsContext> {
    let mut directory = |name: &str| -> Result<stasis_model::FileId> {
        let link = patient.proc().read_link(name)?;
        let file = patient.proc().open_file(name, OFlags::PATH)?;
        address_space::freeze_file_behind(&file, &link, 0, gathering)
    };
    Ok(FsContext {
        cwd: directory("cwd")?,
        root: directory("root")?,
        umask: patient.status().umask,
    })
}

fn read_personality(proc: &ProcDir) -> Result<u32> {
    let text = proc.read_record("personality")?;
    let text = String::from_utf8_lossy(&text);
    Ok(u32::from_str_radix(text.trim(), 16).unwrap_or(0))
}

fn read_number<T: std::str::FromStr>(proc: &ProcDir, file: &str) -> Result<Option<T>> {
    let text = proc.read_record(file)?;
    Ok(String::from_utf8_lossy(&text).trim().parse().ok())
}

/// Adds what a process does for itself when its memory is whole: actions, layout, directories, timers.
///
/// `fds`: numbers of executable, root and working directory in the blank; `ignored`: signals that it ignores.
pub fn thaw(live: &Live, fds: &FsFds, ignored: SignalMask, batch: &mut Batch) {
    signal::thaw_actions(&live.signal_actions, ignored, batch);
    thaw_layout(&live.memory, fds.executable, batch);
    if let Some(root) = fds.root {
        let here = batch.text(b".");
        batch.call("fchdir to the root", FCHDIR, [root.into()]);
        batch.call("chroot", CHROOT, [here.into()]);
    }
    batch.call("fchdir", FCHDIR, [fds.cwd.into()]);
    if let Some(umask) = live.fs.umask {
        batch.call("umask", UMASK, [umask.into()]);
    }
    batch.call("personality", PERSONALITY, [live.personality.into()]);
    if live.memory.thp_disabled {
        let disable = [PR_SET_THP_DISABLE.into(), 1.into(), 0.into(), 0.into(), 0.into()];
        batch.call("prctl(PR_SET_THP_DISABLE)", PRCTL, disable);
    }
    let subreaper = [PR_SET_CHILD_SUBREAPER.into(), u32::from(live.child_subreaper).into()];
    batch.call("prctl(PR_SET_CHILD_SUBREAPER)", PRCTL, subreaper);
    for bit in 0..32 {
        if live.membarrier & 1 << bit != 0 {
            batch.call("membarrier", MEMBARRIER, [(1u32 << bit).into()]);
        }
    }
}

/// Numbers of a blank's descriptors for the moment.
#[derive(Clone, Copy, Debug)]
pub struct FsFds {
    pub executable: i32,
    pub cwd: i32,
    /// Only if the root is not that of the mount namespace.
    pub root: Option<i32>,
}

/// Adds what comes after the credentials, which would reset it, and what starts to run.
pub fn thaw_last(live: &Live, own_pid: i32, batch: &mut Batch) {
    if live.memory.dumpable != 2 {
        let set = [PR_SET_DUMPABLE.into(), live.memory.dumpable.into()];
        batch.call("prctl(PR_SET_DUMPABLE)", PRCTL, set);
    }
    // A timer that runs out already must find its earlier signals there.
    signal::thaw_pending(&live.pending, own_pid, None, batch);
    posix_timer::thaw(&live.posix_timers, batch);
    itimer::thaw([&live.itimer_real, &live.itimer_virtual, &live.itimer_prof], batch);
}

fn thaw_layout(memory: &AddressSpace, executable: i32, batch: &mut Batch) {
    let layout = &memory.layout;
    let auxv = batch.words(&layout.auxv);
    let auxv_len = layout.auxv.len() as u64 * 8;
    let map = batch.words(&[
        layout.code.start,
        layout.code.end,
        layout.data.start,
        layout.data.end,
        layout.brk_start,
        layout.brk,
        layout.stack_start,
        layout.arguments.start,
        layout.arguments.end,
        layout.environment.start,
        layout.environment.end,
        0,
        auxv_len | u64::from(executable.cast_unsigned()) << 32,
    ]);
    batch.pointer(map, 11, auxv);
    let arguments = [PR_SET_MM.into(), PR_SET_MM_MAP.into(), map.into(), 104.into(), 0.into()];
    batch.call("prctl(PR_SET_MM_MAP)", PRCTL, arguments);
}

/// What all blanks are born with, because the first has it. What is the same in a process is not set again.
pub struct BornWith {
    pub credentials: Credentials,
    /// The XSAVE area of a thread that has not calculated anything yet.
    pub extended_state: Vec<u8>,
    limits: Vec<Limit>,
    oom_score_adj: Option<i32>,
}

impl BornWith {
    /// Asks the first.
    pub fn of(first: &mut Blank) -> Result<Self> {
        Ok(BornWith {
            credentials: credentials::of_blank(first)?,
            extended_state: first.extended_state(0)?,
            limits: limit::freeze(first.proc())?,
            oom_score_adj: read_number(first.proc(), "oom_score_adj")?,
        })
    }
}

/// What is set from outside: limits and the out-of-memory score.
pub fn thaw_from_outside(
    blank: &Blank,
    live: &Live,
    born_with: &BornWith,
    thawing: &mut Thawing,
) -> Result<()> {
    limit::thaw(blank, &live.limits, &born_with.limits, thawing)?;
    let wanted = live.oom_score_adj.filter(|score| Some(*score) != born_with.oom_score_adj);
    let Some(score) = wanted else { return Ok(()) };
    let file = blank.proc().open_file("oom_score_adj", OFlags::WRONLY)?;
    if rustix::io::write(&file, score.to_string().as_bytes()).is_err() {
        let subject = Subject::Task { pid: live.leader().tid.0, name: String::new() };
        thawing.loss(subject, format!("its out-of-memory score could not be set to {score}"));
    }
    Ok(())
}

/// Opens directories and executable for handing over: executable, working directory, and the root if
/// it is not that of the namespace.
pub fn open_fs(live: &Live, thawing: &mut Thawing) -> Result<Vec<OwnedFd>> {
    let mut opened = vec![
        descriptor::open_path(live.memory.executable, 0, thawing)?,
        descriptor::open_path(live.fs.cwd, OFlags::DIRECTORY.bits(), thawing)?,
    ];
    if !descriptor::is_namespace_root(live.fs.root, thawing) {
        opened.push(descriptor::open_path(live.fs.root, OFlags::DIRECTORY.bits(), thawing)?);
    }
    Ok(opened)
}
