//! Taking a checkpoint: survey, stop, freeze, write, settle.

use std::{collections::HashMap, ops::Range, os::fd::AsFd, sync::Arc, time::Instant};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use stasis_files::{DumpStats, Facts, PageOwner, Previous, Writer};
use stasis_model::{
    ClockReadings, FileKind, GhostContent, Loss, NamespaceKind, NsPid, Obstacle, Process, State,
    Subject, TableId, Time, Tree, Vma,
};
use stasis_objects::{
    Gathering, epoll,
    gathering::Stored,
    ghost,
    pages::{self, Buffer, Counts},
    process, segment,
    sharing::{self, Between},
    terminal::{self, Outside},
    unix_socket,
};
use stasis_plan::Job;
use stasis_tracee::{FEW, Patient, ProcDir, Sleepers, StopKind, StoppedTree};

use crate::{
    connections::Frozen,
    contents::{Ghost, Pages},
    cpuid,
    deadline::Deadline,
    facade::{CheckpointOptions, Error, Fate, Report, Stats},
    ipc, namespaces, own_limit, patience,
    phases::Phases,
    processor::OneProcessor,
    read_ahead,
    restore::job_of,
    survey,
    tracking::{Since, Untouched},
};

/// Takes a checkpoint of the tree below `root`; the tree runs on if anything fails.
///
/// Some obstacles pass by themselves: every program that a shell starts shares the shell's memory for
/// a moment. Those get two seconds to pass.
///
/// # Errors
/// [`Error::Obstacles`] if something cannot be kept; as a rule it is found before anything is stopped.
/// [`Error::Failed`] otherwise, after the tree was let go.
pub fn checkpoint(mut options: CheckpointOptions<'_>) -> Result<Report, Error> {
    let _limit = own_limit::raise();
    let obstacles = |attempted: &Result<Report, Error>| match attempted {
        Err(Error::Obstacles(found)) => found.clone(),
        _ => Vec::new(),
    };
    patience::until_passed(|| attempt(&mut options), obstacles)
}

/// Obstacles come before anything is written.
fn attempt(options: &mut CheckpointOptions<'_>) -> Result<Report, Error> {
    let mut phases = Phases::start();
    let outside = survey::outside_for(options.root, options.shell_job, &options.externals);
    let tracking = options.since.as_ref().map(|since| &since.tracking);
    let wanted = (Between::Processes, options.connections.surveyed());
    let findings = survey::look(options.root, &options.externals, (&outside, tracking), wanted)?;
    if !findings.obstacles.is_empty() {
        return Err(Error::Obstacles(findings.obstacles));
    }
    phases.end("survey");
    let sleepers = findings.sleepers();
    Deadline::of(options).check_phase()?;
    let stopped_since = Instant::now();
    let mut tree = StoppedTree::stop(options.root)?;
    phases.end("stop");
    let known = (&sleepers, findings.losses);
    let written = since_then(&tree, options.since.take()).and_then(|before| {
        phases.end("compare");
        freeze_and_write(&mut tree, (known, before), (options, outside), &mut phases)
    });
    // Only a checkpoint that is wholly on disk may cost the tree its life.
    let settled = match (written, options.fate) {
        (Ok((report, connections)), fate) => {
            settle(tree, connections, fate).map(|losses| with_losses(report, losses))
        }
        (Err(error), _) => {
            // The failure that led here is the one to tell.
            let _ = tree.resume();
            Err(error)
        }
    };
    phases.end("settle");
    let mut report = settled?;
    report.stats.stopped = stopped_since.elapsed();
    report.stats.phases = phases.into_vec();
    Ok(report)
}

/// Gives a tree whose checkpoint is on disk its fate. Its connections end after it has died: should we
/// die before it, no socket of a living task is in another mode than it was.
fn settle(tree: StoppedTree, mut connections: Frozen<'_>, fate: Fate) -> Result<Vec<Loss>, Error> {
    let mut losses = Vec::new();
    match fate {
        Fate::Kill => {
            losses = connections.part();
            let killed = tree.kill();
            losses.extend(connections.end());
            killed?;
        }
        Fate::LeaveStopped => {
            drop(connections);
            leave_stopped(tree)?;
        }
        Fate::LeaveRunning => {
            drop(connections);
            tree.resume()?;
        }
    }
    Ok(losses)
}

fn with_losses(mut report: Report, losses: Vec<Loss>) -> Report {
    report.losses.extend(losses);
    report
}

fn leave_stopped(tree: StoppedTree) -> stasis_tracee::Result<()> {
    const SIGSTOP: i32 = 19;
    for patient in tree.patients() {
        // A process that is gone needs no stopping.
        let _ = stasis_sys::process::kill(patient.pid(), SIGSTOP);
    }
    tree.resume()
}

/// The round before, and what was not written to since. Notes end here: what is frozen is a tree that
/// nobody watches.
type Before = (Option<Previous>, Untouched);

fn since_then(tree: &StoppedTree, since: Option<Since>) -> Result<Before, Error> {
    let Some(Since { previous, tracking }) = since else { return Ok(Default::default()) };
    let untouched = tracking.untouched(tree)?;
    Ok((Some(previous), untouched))
}

fn freeze_and_write<'a>(
    tree: &mut StoppedTree,
    ((sleepers, known_losses), (previous, untouched)): ((&Sleepers, Vec<Loss>), Before),
    (options, outside): (&mut CheckpointOptions<'a>, Outside),
    phases: &mut Phases,
) -> Result<(Report, Frozen<'a>), Error> {
    let (mut gathering, connections) = freeze(tree, sleepers, options, outside)?;
    for loss in known_losses {
        if !gathering.losses.contains(&loss) {
            gathering.losses.push(loss);
        }
    }
    phases.end("freeze");
    let writer = match previous {
        Some(previous) => Writer::create_after(&options.images_dir, previous)?,
        None => Writer::create(&options.images_dir)?,
    };
    let run_id = match options.fate {
        Fate::Kill => connections.run_id(),
        Fate::LeaveRunning | Fate::LeaveStopped => None,
    };
    let facts = Facts { run_id, ..facts() };
    let written = write((tree, &untouched), &mut gathering, (&writer, facts), options, phases);
    let (counts, bytes_written) = match written {
        Ok(numbers) => numbers,
        Err(error) => {
            // What is not whole is of no use to anybody. The failure that led here is the one to tell.
            let _ = writer.abandon();
            return Err(error);
        }
    };
    settle_links(&mut gathering, options.fate);
    let stats = Stats {
        nr_tasks: gathering.tree.processes.len(),
        nr_threads: gathering.tree.nr_threads(),
        nr_pages: counts.written,
        nr_unchanged: counts.unchanged,
        bytes_written,
        ..Stats::default()
    };
    Ok((Report { stats, losses: gathering.losses }, connections))
}

/// Writes everything, and calls the caller who has more to save. Tells how many pages and how many
/// bytes of files there are.
fn write(
    (tree, untouched): (&StoppedTree, &Untouched),
    gathering: &mut Gathering,
    (writer, facts): (&Writer, Facts),
    options: &mut CheckpointOptions<'_>,
    phases: &mut Phases,
) -> Result<(Counts, u64), Error> {
    let owns_ipc = gathering.tree.namespaces.owns(NamespaceKind::Ipc);
    let sysctls = if owns_ipc { Some(ipc::read_sysctls(options.root)?) } else { None };
    let facts = Facts { ipc: sysctls, ..facts };
    let stored = std::mem::take(&mut gathering.stored);
    let frozen = &gathering.tree;
    let deadline = Deadline::of(options);
    let write_contents = || -> Result<Counts, Error> {
        let counts = write_pages((tree, untouched), frozen, writer, deadline)?;
        write_stored(stored, frozen, writer, deadline)?;
        Ok(counts)
    };
    // Contents are slow to move and trees of many tasks have many files: each on a processor of its own.
    // To wake another one for few files takes longer than to write them.
    let counts = if frozen.nr_threads() < FEW {
        let counts = write_contents()?;
        phases.end("pages");
        writer.write_tree(frozen, &facts)?;
        counts
    } else {
        std::thread::scope(|scope| -> Result<Counts, Error> {
            let writing = scope.spawn(|| writer.write_tree(frozen, &facts));
            let counts = write_contents()?;
            phases.end("pages");
            let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written?;
            Ok(counts)
        })?
    };
    writer.write_stats(&dump_stats(phases, counts))?;
    writer.finish(frozen)?;
    let bytes_written = writer.bytes_written()?;
    phases.end("write");
    if let Some(while_stopped) = options.while_stopped.as_mut() {
        while_stopped(&gathering.losses).map_err(|error| Error::Failed(error.to_string()))?;
        phases.end("while stopped");
    }
    Ok((counts, bytes_written))
}

fn dump_stats(phases: &Phases, counts: Counts) -> DumpStats {
    let micros = |name: &str| u32::try_from(phases.of(name).as_micros()).unwrap_or(u32::MAX);
    DumpStats {
        freezing_us: micros("stop"),
        frozen_us: micros("freeze") + micros("pages"),
        memdump_us: micros("pages"),
        memwrite_us: micros("pages"),
        pages_scanned: counts.written + counts.unchanged,
        pages_skipped_parent: counts.unchanged,
        pages_written: counts.written,
        ..DumpStats::default()
    }
}

/// Links to deleted files are only for the restore: a tree that runs on must not find them.
fn settle_links(gathering: &mut Gathering, fate: Fate) {
    for link in std::mem::take(&mut gathering.links) {
        match fate {
            Fate::Kill | Fate::LeaveStopped => link.keep(),
            Fate::LeaveRunning => {
                let reason = "a deleted file with another link is open; it is kept only \
                              if the checkpoint ends the tree";
                gathering.losses.push(Loss { subject: Subject::Tree, reason: reason.into() });
            }
        }
    }
}

fn facts() -> Facts {
    Facts { processor: Some(cpuid::probe()), uptime_us: uptime_us(), ..Facts::default() }
}

/// How long this machine runs, microseconds.
pub fn uptime_us() -> Option<u64> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok();
    let seconds = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    seconds.map(|seconds| (seconds * 1e6) as u64)
}

/// Freezes all processes into the model.
fn freeze<'a>(
    tree: &mut StoppedTree,
    sleepers: &Sleepers,
    options: &CheckpointOptions<'a>,
    outside: Outside,
) -> Result<(Gathering, Frozen<'a>), Error> {
    let clocks = read_clocks();
    let mut gathering = Gathering::new(options.externals.files.clone());
    gathering.tree.clocks = Some(clocks);
    gathering.terminals.outside = outside;
    note_ids(tree, &mut gathering);
    let procs: Vec<Arc<ProcDir>> = tree.patients().iter().map(Patient::shared_proc).collect();
    let (own, _) = namespaces::survey(&procs[0], &[])?;
    gathering.obstacles.extend(namespaces::obstacles(&procs[0], &own, &options.externals));
    gathering.tree.namespaces =
        namespaces::freeze(tree.patients()[0].proc(), own, &options.externals.mounts)?;
    if gathering.tree.namespaces.owns(NamespaceKind::Ipc) {
        gathering.add_system_v(ipc::freeze(options.root)?)?;
    }
    if gathering.tree.namespaces.owns(NamespaceKind::Mount) {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        gathering.root = Some(tree.patients()[0].proc().open_file("root", flags)?);
    }
    let mut tables: HashMap<TableId, i32> = HashMap::new();
    let stopped_at = clocks.monotonic.as_nanoseconds();
    let few = tree.patients().iter().map(|patient| patient.threads().len()).sum::<usize>() < FEW;
    let processor = OneProcessor::hold_if_idle();
    let shared = std::thread::scope(|scope| {
        // It needs none of their remote calls.
        let look = || {
            processor.as_ref().inspect(|processor| processor.let_me_out());
            shared_or_not(&procs)
        };
        let looking = (!few).then(|| scope.spawn(look));
        read_ahead::freeze_each(tree.patients_mut(), processor.as_ref(), |patient, texts| {
            Deadline::of(options).check_phase()?;
            let live = process::freeze(patient, texts, (sleepers, stopped_at), &mut gathering)?;
            tables.entry(live.descriptors).or_insert(patient.pid());
            let process = describe(patient, live, (options, &gathering))?;
            gathering.tree.processes.push(process);
            Ok(())
        })?;
        match looking {
            Some(looking) => {
                looking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            None => shared_or_not(&procs),
        }
    })?;
    drop(processor);
    gathering.obstacles.extend(shared);
    let connections = Frozen::freeze(&mut gathering, options.connections, options.root)?;
    unix_socket::check_peers(&mut gathering);
    epoll::resolve(&mut gathering, &|table| tables.get(&table).copied())?;
    add_zombies(tree, &mut gathering);
    check_plan(&mut gathering, options);
    terminal::resolve(&mut gathering)?;
    if !gathering.obstacles.is_empty() {
        return Err(Error::Obstacles(gathering.obstacles));
    }
    gathering.tree.validate().map_err(|invalid| {
        Error::Failed(format!("internal error: the frozen tree contradicts itself: {invalid}"))
    })?;
    Ok((gathering, connections))
}

/// What processes or threads share that they must not, or do not share as they must.
fn shared_or_not(procs: &[Arc<ProcDir>]) -> Result<Vec<Obstacle>, Error> {
    let procs: Vec<&ProcDir> = procs.iter().map(AsRef::as_ref).collect();
    let (_, mut obstacles) = namespaces::survey(procs[0], &procs[1..])?;
    obstacles.extend(sharing::obstacles(procs, Between::ProcessesAndThreads)?);
    Ok(obstacles)
}

/// What could never be made again is not frozen.
fn check_plan(gathering: &mut Gathering, options: &CheckpointOptions<'_>) {
    let wanted = if options.shell_job { Job::Shell } else { Job::Own };
    let job = job_of(&gathering.tree, wanted);
    if let Err(impossible) = stasis_plan::steps(&gathering.tree, job, &|_| false) {
        gathering.obstacle(Subject::Tree, impossible.to_string(), None);
    }
}

fn note_ids(tree: &StoppedTree, gathering: &mut Gathering) {
    for patient in tree.patients() {
        gathering.own_ids.insert(patient.pid(), NsPid(patient.own_pid()));
        for thread in patient.threads() {
            gathering.own_ids.insert(thread.tid(), NsPid(thread.own_tid()));
        }
    }
    for zombie in tree.zombies() {
        gathering.own_ids.insert(zombie.pid, NsPid(zombie.own_pid));
    }
}

fn describe(
    patient: &Patient,
    live: stasis_model::Live,
    (options, gathering): (&CheckpointOptions<'_>, &Gathering),
) -> Result<Process, Error> {
    let status = patient.status();
    let own = |ids: &[i32]| NsPid(ids.last().copied().unwrap_or(0));
    let (group, session) = (own(&status.namespace_groups), own(&status.namespace_sessions));
    let is_root = patient.pid() == options.root;
    if is_root && session.0 != patient.own_pid() && !options.shell_job {
        return Err(Error::Failed(format!(
            "process {} is in session {session} of another process; \
             start it with setsid(1), or use --shell-job",
            patient.pid()
        )));
    }
    let stopped_by = match patient.leader().stop_kind() {
        StopKind::Running => None,
        StopKind::JobControl(signal) => Some(signal),
    };
    Ok(Process {
        pid: NsPid(patient.own_pid()),
        // The root's own parent is not of the tree.
        parent: gathering.own_id(patient.parent()),
        group,
        session,
        name: live.leader().name.clone(),
        state: State::Live { live: Box::new(live), stopped_by },
    })
}

fn add_zombies(tree: &StoppedTree, gathering: &mut Gathering) {
    for zombie in tree.zombies() {
        let own = |host: i32| gathering.own_id(host).unwrap_or(NsPid(host));
        gathering.tree.processes.push(Process {
            pid: NsPid(zombie.own_pid),
            parent: Some(own(zombie.parent)),
            group: own(zombie.group),
            session: own(zombie.session),
            name: zombie.name.clone(),
            state: State::Zombie { wait_status: zombie.wait_status.cast_unsigned() },
        });
    }
}

pub fn read_clocks() -> ClockReadings {
    let read = |clock| {
        let now = rustix::time::clock_gettime(clock);
        Time {
            seconds: u64::try_from(now.tv_sec).unwrap_or(0),
            nanoseconds: u32::try_from(now.tv_nsec).unwrap_or(0),
        }
    };
    ClockReadings {
        monotonic: read(rustix::time::ClockId::Monotonic),
        boottime: read(rustix::time::ClockId::Boottime),
    }
}

/// Several processes are taken at a time.
fn write_pages(
    (tree, untouched): (&StoppedTree, &Untouched),
    frozen: &Tree,
    writer: &Writer,
    deadline: Deadline,
) -> Result<Counts, Error> {
    let memory = |patient: &Patient| {
        let pid = NsPid(patient.own_pid());
        let vmas = &frozen.process(pid).and_then(Process::live)?.memory.vmas;
        Some(Memory { proc: patient.shared_proc(), pid, vmas, untouched: untouched.of(patient) })
    };
    // A patient is for one thread alone.
    let memories: Vec<Memory<'_>> = tree.patients().iter().filter_map(memory).collect();
    let write = |buffer: &mut Buffer, memory: &Memory<'_>| memory.write(writer, deadline, buffer);
    match memories.as_slice() {
        [one] => write(&mut Buffer::default(), one),
        many => many
            .par_iter()
            .map_init(Buffer::default, write)
            .try_reduce(Counts::default, |one, other| Ok(one + other)),
    }
}

/// Private memory of one process.
struct Memory<'a> {
    proc: Arc<ProcDir>,
    pid: NsPid,
    vmas: &'a [Vma],
    untouched: &'a [Range<u64>],
}

impl Memory<'_> {
    fn write(
        &self,
        writer: &Writer,
        deadline: Deadline,
        buffer: &mut Buffer,
    ) -> Result<Counts, Error> {
        let pages = writer.pages(PageOwner::Process(self.pid))?;
        let mut sink = Pages { pages, deadline };
        let counts = pages::freeze((&self.proc, self.vmas), self.untouched, &mut sink, buffer)?;
        sink.pages.finish()?;
        Ok(counts)
    }
}

fn write_stored(
    stored: Vec<Stored>,
    frozen: &Tree,
    writer: &Writer,
    deadline: Deadline,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Failed(error.to_string());
    for stored in stored {
        match stored {
            Stored::Ghost { id, file } => {
                let described = &frozen.ghosts[&id];
                let GhostContent::Regular { size } = described.content else { continue };
                let ghost = writer.ghost(id, described)?;
                let mut sink = Ghost { ghost, deadline };
                ghost::store(file.as_fd(), size, &mut sink).map_err(failed)?;
            }
            Stored::Segment { id, size, file } => {
                let pages = writer.pages(PageOwner::Segment(id))?;
                let mut sink = Pages { pages, deadline };
                segment::store(file.as_fd(), size, &mut sink).map_err(failed)?;
                sink.pages.finish()?;
            }
            Stored::Connection { file, received, outgoing } => {
                let FileKind::Inet(socket) = &frozen.files[&file].kind else { continue };
                let Some(connection) = &socket.connection else { continue };
                writer.tcp_stream(socket.socket, connection, (&received, &outgoing))?;
            }
        }
    }
    Ok(())
}
