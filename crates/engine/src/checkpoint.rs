//! Taking a checkpoint: survey, stop, freeze, write, settle.

mod freezing;
mod writing;

use std::{panic::resume_unwind, thread, time::Instant};

use stasis_files::{DumpStats, Facts, Previous, Writer};
use stasis_model::{Loss, NamespaceKind, Subject};
use stasis_objects::{Gathering, pages::Counts, sharing::Between, terminal::Outside};
use stasis_sys::heap::Room;
use stasis_tracee::{FEW, Sleepers, StoppedTree};

use self::{
    freezing::freeze,
    writing::{write_pages, write_stored},
};
use crate::{
    awake::Awake,
    clocks::uptime_us,
    connections::Frozen,
    cpuid,
    deadline::Deadline,
    facade::{CheckpointOptions, Error, Fate, Report, Stats},
    ipc, own_limit, patience,
    phases::Phases,
    processor::{self, OneProcessor},
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

/// What was found out before the tree was stopped.
struct Known {
    nr_threads: usize,
    sleepers: Sleepers,
    losses: Vec<Loss>,
    /// Terminals that may have their other end outside.
    outside: Outside,
    /// Whether processors had nothing to do.
    idle: bool,
}

/// Obstacles come before anything is written.
fn attempt(options: &mut CheckpointOptions<'_>) -> Result<Report, Error> {
    let mut phases = Phases::start();
    let known = look(options, &mut phases)?;
    Deadline::of(options).check_phase()?;
    let awake = Awake::for_threads(known.nr_threads);
    let stopped_since = Instant::now();
    let mut tree = stop(options.root, known.nr_threads)?;
    phases.end("stop");
    let written = since_then(&tree, options.since.take()).and_then(|before| {
        phases.end("compare");
        freeze_and_write(&mut tree, (known, before), (options, awake), &mut phases)
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

/// Looks at the tree while it runs.
fn look(options: &CheckpointOptions<'_>, phases: &mut Phases) -> Result<Known, Error> {
    let idle = processor::are_idle();
    let outside = survey::outside_for(options.root, options.shell_job, &options.externals);
    let tracking = options.since.as_ref().map(|since| &since.tracking);
    let look = |between| {
        let wanted = (between, options.connections.surveyed());
        survey::look(options.root, &options.externals, (&outside, tracking), wanted)
    };
    let mut findings = look(Between::Processes)?;
    if !findings.obstacles.is_empty() {
        // To list what else there is there is time now.
        let all = look(Between::ProcessesAndThreads)?.obstacles;
        return Err(Error::Obstacles(if all.is_empty() { findings.obstacles } else { all }));
    }
    phases.end("survey");
    let sleepers = findings.sleepers();
    let survey::Findings { nr_threads, losses, .. } = findings;
    Ok(Known { nr_threads, sleepers, losses, outside, idle })
}

/// Stops the tree. Another thread of ours makes room meanwhile, and longer if need be, for what there is to be told
/// of many threads.
fn stop(root: i32, nr_threads: usize) -> Result<StoppedTree, Error> {
    const BYTES_PER_THREAD: usize = 12 << 10;
    if nr_threads >= FEW {
        let room = Room::of(nr_threads * BYTES_PER_THREAD);
        thread::spawn(|| room.fill());
    }
    Ok(StoppedTree::stop(root)?)
}

/// Gives a tree whose checkpoint is on disk its fate. Its connections end after it has died: should we
/// die before it, no socket of a living task is in another mode than it was.
fn settle(tree: StoppedTree, mut connections: Frozen<'_>, fate: Fate) -> Result<Vec<Loss>, Error> {
    let _awake = Awake::for_threads(tree.nr_threads());
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
    (known, (previous, untouched)): (Known, Before),
    (options, awake): (&mut CheckpointOptions<'a>, Option<Awake>),
    phases: &mut Phases,
) -> Result<(Report, Frozen<'a>), Error> {
    let Known { sleepers, losses, outside, idle, .. } = known;
    let (mut gathering, connections) = freeze(tree, (&sleepers, idle), options, outside)?;
    drop(awake);
    for loss in losses {
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
    let fate = options.fate;
    let means = (options, idle);
    let written = write((tree, &untouched), &mut gathering, (&writer, facts), means, phases);
    let (counts, bytes_written) = match written {
        Ok(numbers) => numbers,
        Err(error) => {
            // What is not whole is of no use to anybody. The failure that led here is the one to tell.
            let _ = writer.abandon();
            return Err(error);
        }
    };
    settle_links(&mut gathering, fate);
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
    (options, idle): (&mut CheckpointOptions<'_>, bool),
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
        // Whoever is woken while both processors are at work would wait for us, though the other may end soon.
        let processor = idle.then(OneProcessor::hold).flatten();
        thread::scope(|scope| -> Result<Counts, Error> {
            let writing = scope.spawn(|| {
                processor.as_ref().inspect(|processor| processor.let_me_out());
                writer.write_tree(frozen, &facts)
            });
            let counts = write_contents()?;
            phases.end("pages");
            writing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
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
