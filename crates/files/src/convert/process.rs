//! Processes: the tree, their cores, and what belongs to a process as a whole.

use stasis_model::{
    FileId, FsContext, Limit, Live, NsPid, Process, SignalMask, State, TableId, Thread, Tree,
};

use super::{
    memory::{self, SharedFiles},
    namespaces,
    seccomp::Synchronised,
    signals,
    source::{Input, Output},
    thread, timers,
};
use crate::{
    Error, Result,
    error::Place,
    many,
    wire::{
        core::{CoreEntry, TaskCoreEntry},
        fs::FsEntry,
        mm::MmEntry,
        pstree::{PstreeEntry, TaskKobjIdsEntry},
        rlimit::{RlimitEntry, TaskRlimitsEntry},
    },
};

const PSTREE: &str = "pstree.img";

/// Values of `task_core_entry.task_state`.
mod task_state {
    pub const ALIVE: u32 = 1;
    pub const DEAD: u32 = 2;
    pub const STOPPED: u32 = 3;
    pub const ALSO_DEAD: u32 = 6;
}

const SIGSTOP: i32 = 19;

/// What processes are encoded with.
pub(super) struct Context<'a> {
    pub tree: &'a Tree,
    pub seccomp: &'a Synchronised,
    pub cg_set: u32,
    pub segment_files: &'a std::collections::BTreeMap<stasis_model::SegmentId, FileId>,
}

pub(super) fn encode(context: &Context, out: &mut Output) -> Result<()> {
    let processes = &context.tree.processes;
    out.all(PSTREE, &processes.iter().map(encode_pstree).collect::<Vec<_>>());
    // The supervisor has number 1, the dead have none.
    let mut numbers = 2..;
    for process in processes {
        match &process.state {
            State::Zombie { wait_status } => encode_zombie(process, *wait_status, out),
            State::Live { live, stopped_by } => {
                let number = numbers.next().expect("fewer processes than numbers");
                encode_live(context, process, live, *stopped_by, number, out)?;
            }
        }
    }
    Ok(())
}

fn encode_pstree(process: &Process) -> PstreeEntry {
    let id = |pid: NsPid| pid.0.cast_unsigned();
    let threads = match process.live() {
        Some(live) => live.threads.iter().map(|thread| id(thread.tid)).collect(),
        None => vec![id(process.pid)],
    };
    PstreeEntry {
        pid: id(process.pid),
        ppid: process.parent.map_or(0, id),
        pgid: id(process.group),
        sid: id(process.session),
        threads,
    }
}

fn encode_zombie(process: &Process, wait_status: u32, out: &mut Output) {
    let tc = TaskCoreEntry {
        task_state: task_state::DEAD,
        exit_code: wait_status,
        comm: process.name.clone(),
        ..Default::default()
    };
    let core = CoreEntry { mtype: thread::X86_64, tc: Some(tc), ..Default::default() };
    out.single(core_file(process.pid), &core);
}

fn encode_live(
    context: &Context,
    process: &Process,
    live: &Live,
    stopped_by: Option<i32>,
    number: u32,
    out: &mut Output,
) -> Result<()> {
    let pid = process.pid;
    let encode_core = |(index, thread): (usize, &Thread)| {
        let seccomp = context.seccomp.mode(live, index);
        let mut core = thread::encode(thread, seccomp, context.cg_set)?;
        if index == 0 {
            core.tc = Some(encode_task(process, live, stopped_by));
            // The leader's are in the part of the process.
            core.thread_core.as_mut().expect("just encoded").blk_sigset = None;
        }
        let mut file = Output::default();
        file.single(core_file(thread.tid), &core);
        Ok(file)
    };
    let cores: Vec<Output> = many::map(live.threads.iter().enumerate(), encode_core)?;
    cores.into_iter().for_each(|core| out.files.extend(core.files));
    let ids = TaskKobjIdsEntry {
        vm_id: number,
        files_id: live.descriptors.0,
        fs_id: number,
        sighand_id: number,
        ..Default::default()
    };
    let namespaces = Some(&context.tree.namespaces);
    out.single(format!("ids-{pid}.img"), &namespaces::encode_ids(namespaces, ids));
    out.single(format!("mm-{pid}.img"), &memory::encode(&live.memory, context.segment_files));
    let (cwd_id, root_id) = (live.fs.cwd.0, live.fs.root.0);
    out.single(format!("fs-{pid}.img"), &FsEntry { cwd_id, root_id, umask: live.fs.umask });
    Ok(())
}

fn core_file(tid: NsPid) -> String {
    format!("core-{tid}.img")
}

fn encode_task(process: &Process, live: &Live, stopped_by: Option<i32>) -> TaskCoreEntry {
    let limits = live.limits.iter().map(|limit| RlimitEntry { cur: limit.soft, max: limit.hard });
    TaskCoreEntry {
        task_state: stopped_by.map_or(task_state::ALIVE, |_| task_state::STOPPED),
        exit_code: 0,
        personality: live.personality,
        flags: live.kernel_flags,
        blk_sigset: live.leader().blocked.0,
        comm: process.name.clone(),
        timers: Some(timers::encode(live)),
        rlimits: Some(TaskRlimitsEntry { rlimits: limits.collect() }),
        signals_s: Some(signals::encode_queue(&live.pending)),
        loginuid: live.login_uid,
        oom_score_adj: live.oom_score_adj,
        sigactions: signals::encode_actions(&live.signal_actions),
        child_subreaper: Some(live.child_subreaper),
        stop_signo: stopped_by.map(i32::cast_unsigned),
        membarrier_registration_mask: Some(live.membarrier).filter(|mask| *mask != 0),
        ..Default::default()
    }
}

/// A process whose files are read but not yet looked into.
pub(super) struct Raw {
    pub pid: NsPid,
    place: usize,
    entry: PstreeEntry,
    core: CoreEntry,
    pub live: Option<RawLive>,
}

pub(super) struct RawLive {
    pub ids: TaskKobjIdsEntry,
    pub mm: MmEntry,
    fs: FsEntry,
}

/// Reads the files of all processes.
pub(super) fn read(input: Input) -> Result<Vec<Raw>> {
    let entries: Vec<PstreeEntry> = input.all(PSTREE)?;
    if entries.is_empty() {
        let needed_for = "it lists the processes".into();
        return Err(Error::Missing { file: PSTREE.into(), needed_for });
    }
    many::map((1..).zip(entries), |(record, entry)| read_process(input, entry, record))
}

fn read_process(input: Input, entry: PstreeEntry, record: usize) -> Result<Raw> {
    let pid = id(Place::new(PSTREE, record), "pid", entry.pid)?;
    let why = || format!("process {pid} needs it");
    let mut core: CoreEntry = input.need(&core_file(pid), why())?;
    adopt_old_seccomp(&mut core);
    let live = match is_dead(&core) {
        true => None,
        false => Some(RawLive {
            ids: input.need(&format!("ids-{pid}.img"), why())?,
            mm: input.need(&format!("mm-{pid}.img"), why())?,
            fs: input.need(&format!("fs-{pid}.img"), why())?,
        }),
    };
    Ok(Raw { pid, place: record, entry, core, live })
}

fn is_dead(core: &CoreEntry) -> bool {
    let state = core.tc.as_ref().map(|tc| tc.task_state);
    matches!(state, Some(task_state::DEAD | task_state::ALSO_DEAD))
}

fn id(place: Place, field: &'static str, id: u32) -> Result<NsPid> {
    i32::try_from(id).map(NsPid).map_err(|_| place.field(field, format!("{id} is no process id")))
}

/// Decodes all processes. Their seccomp modes are still as the files have them.
pub(super) fn decode_all(input: Input, raws: &[Raw], shared: &SharedFiles) -> Result<Vec<Process>> {
    many::map(raws, |raw| decode(input, raw, shared))
}

fn decode(input: Input, raw: &Raw, shared: &SharedFiles) -> Result<Process> {
    let place = Place::new(PSTREE, raw.place);
    let name = core_file(raw.pid);
    let core_place = Place::new(&name, 1);
    let tc = core_place.need(raw.core.tc.as_ref(), "tc")?;
    let parent = id(place, "ppid", raw.entry.ppid)?;
    Ok(Process {
        pid: raw.pid,
        parent: Some(parent).filter(|parent| parent.0 != 0),
        group: id(place, "pgid", raw.entry.pgid)?,
        session: id(place, "sid", raw.entry.sid)?,
        name: tc.comm.clone(),
        state: match &raw.live {
            None => State::Zombie { wait_status: tc.exit_code },
            Some(live) => State::Live {
                stopped_by: decode_stopped(core_place, tc)?,
                live: Box::new(decode_live(input, raw, live, tc, shared)?),
            },
        },
    })
}

fn decode_stopped(place: Place, tc: &TaskCoreEntry) -> Result<Option<i32>> {
    match (tc.task_state, tc.stop_signo) {
        (task_state::ALIVE, _) => Ok(None),
        (task_state::STOPPED, None | Some(0)) => Ok(Some(SIGSTOP)),
        (task_state::STOPPED, Some(signal @ 1..=64)) => Ok(Some(signal.cast_signed())),
        (task_state::STOPPED, Some(other)) => {
            Err(place.field("stop_signo", format!("{other} is not a signal")))
        }
        (other, _) => Err(place.field("task_state", format!("{other} is not known"))),
    }
}

fn decode_live(
    input: Input,
    raw: &Raw,
    live: &RawLive,
    tc: &TaskCoreEntry,
    shared: &SharedFiles,
) -> Result<Live> {
    let pid = raw.pid;
    let (core_name, mm_name) = (core_file(pid), format!("mm-{pid}.img"));
    let place = Place::new(&core_name, 1);
    let timers = place.need(tc.timers.as_ref(), "timers")?;
    let (real, virt, prof, posix) = timers::decode(place, timers)?;
    let limits = tc.rlimits.iter().flat_map(|entry| &entry.rlimits);
    Ok(Live {
        threads: decode_threads(input, raw, tc)?,
        memory: memory::decode(Place::new(&mm_name, 1), pid, &live.mm, shared)?,
        fs: decode_fs(&live.fs),
        descriptors: TableId(live.ids.files_id),
        signal_actions: signals::decode_actions(place, pid, &tc.sigactions)?,
        pending: signals::decode_queue(place, "signals_s", tc.signals_s.as_ref())?,
        itimer_real: real,
        itimer_virtual: virt,
        itimer_prof: prof,
        posix_timers: posix,
        limits: limits.map(|limit| Limit { soft: limit.cur, hard: limit.max }).collect(),
        personality: tc.personality,
        kernel_flags: tc.flags,
        oom_score_adj: tc.oom_score_adj,
        login_uid: tc.loginuid,
        child_subreaper: tc.child_subreaper == Some(true),
        membarrier: tc.membarrier_registration_mask.unwrap_or(0),
    })
}

fn decode_threads(input: Input, raw: &Raw, tc: &TaskCoreEntry) -> Result<Vec<Thread>> {
    let name = core_file(raw.pid);
    let blocked = Some(SignalMask(tc.blk_sigset));
    let leader = thread::decode(Place::new(&name, 1), raw.pid, &raw.core, (&tc.comm, blocked))?;
    let decode_other = |tid: &u32| {
        let tid = id(Place::new(PSTREE, raw.place), "threads", *tid)?;
        let name = core_file(tid);
        let core = input.need(&name, format!("a thread of process {} needs it", raw.pid))?;
        thread::decode(Place::new(&name, 1), tid, &core, (&tc.comm, None))
    };
    // The first one stands for the leader, whatever it says.
    let others = raw.entry.threads.get(1..).unwrap_or_default();
    let others = many::map(others, decode_other)?;
    Ok(std::iter::once(leader).chain(others).collect())
}

/// Old checkpoints have the mode in the part of the process.
fn adopt_old_seccomp(leader: &mut CoreEntry) {
    let Some(tc) = &leader.tc else { return };
    if let Some(core) = leader.thread_core.as_mut().filter(|core| core.seccomp_mode.is_none()) {
        core.seccomp_mode = tc.old_seccomp_mode;
        core.seccomp_filter = core.seccomp_filter.or(tc.old_seccomp_filter);
    }
}

fn decode_fs(fs: &FsEntry) -> FsContext {
    FsContext { cwd: FileId(fs.cwd_id), root: FileId(fs.root_id), umask: fs.umask }
}

/// The control groups of the root's leader.
pub(super) fn cgroup_set(root: &Raw) -> Option<u32> {
    let of_thread = root.core.thread_core.as_ref().and_then(|core| core.cg_set);
    of_thread.or_else(|| root.core.tc.as_ref().and_then(|tc| tc.cg_set))
}
