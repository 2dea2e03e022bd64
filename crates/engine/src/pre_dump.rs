//! A round of memory while the tree runs (pre-copy): what is written now need not be written while it
//! stands still.
//!
//! The tree stands for a moment, in which notes begin of what it writes to, and what was noted since the
//! round before is read. Then it runs on, and only then are pages copied: whatever changes under our
//! hands is noted already and comes with the next round.
//!
//! It must stand because of what the kernel has under way for it: a read(2) past the page cache writes
//! by the device into pages that were looked up before. Who is in such a call does not stop before its
//! end.

use std::{path::PathBuf, time::Instant};

use stasis_files::{DumpStats, Facts, PageOwner, Writer};
use stasis_model::NsPid;
use stasis_objects::{
    pages::{self, Counts, Found},
    sharing::Between,
    signal,
    thread::{self, Moment},
};
use stasis_sys::ptrace::Queue;
use stasis_tracee::{Patient, Sleepers, StoppedTree};

use crate::{
    clocks::{read_clocks, uptime_us},
    contents::Pages,
    deadline::Deadline,
    facade::{Error, Externals, Report, Stats, SurveyedConnections},
    own_limit, patience,
    phases::Phases,
    survey::{self, Findings},
    tracking::{Since, Tracking, Untouched, areas_of, new_round},
};

/// What to take a round of, and how.
pub struct PreDumpOptions {
    /// Root of the tree, as a pid of the caller's pid namespace.
    pub root: i32,
    /// An existing, empty directory for the round's files.
    pub images_dir: PathBuf,
    /// `--shell-job`: the session, group and terminal of the root may lie outside the tree.
    pub shell_job: bool,
    pub externals: Externals,
    /// What the dump will do with TCP connections; a round does nothing with them.
    pub connections: SurveyedConnections,
}

/// Takes a round of memory; the tree runs on in any case.
///
/// # Errors
/// [`Error::Obstacles`] if the tree could not be frozen anyway, [`Error::Failed`] otherwise. Nothing is
/// left in the directory, and no notes are taken any more.
pub fn pre_dump(
    options: &PreDumpOptions,
    since: Option<Since>,
) -> Result<(Report, Tracking), Error> {
    let _limit = own_limit::raise();
    let mut phases = Phases::start();
    let mut findings = survey_tree(options, since.as_ref().map(|since| &since.tracking))?;
    phases.end("survey");
    let sleepers = findings.sleepers();
    let round = new_round()?;
    let (previous, tracking) = since.map(|since| (since.previous, since.tracking)).unzip();
    let stopped_since = Instant::now();
    let mut tree = StoppedTree::stop(options.root)?;
    phases.end("stop");
    let noted = note(&mut tree, &sleepers, tracking, round);
    let nr_threads = tree.nr_threads();
    let resumed = tree.resume();
    let stopped = stopped_since.elapsed();
    phases.end("note");
    let (noted, tracking) = noted?;
    resumed?;
    let writer = match previous {
        Some(previous) => Writer::create_after(&options.images_dir, previous)?,
        None => Writer::create(&options.images_dir)?,
    };
    match write(&writer, &noted, tracking.round(), &mut phases) {
        Ok((counts, bytes_written)) => {
            let stats = Stats {
                phases: phases.into_vec(),
                stopped,
                nr_tasks: noted.len(),
                nr_threads,
                nr_pages: counts.written,
                nr_unchanged: counts.unchanged,
                bytes_written,
            };
            Ok((Report { stats, losses: Vec::new() }, tracking))
        }
        Err(error) => {
            // The failure that led here is the one to tell.
            let _ = writer.abandon();
            Err(error)
        }
    }
}

fn survey_tree(options: &PreDumpOptions, tracking: Option<&Tracking>) -> Result<Findings, Error> {
    let outside = survey::outside_for(options.root, options.shell_job, &options.externals);
    let look = || {
        let wanted = (Between::ProcessesAndThreads, options.connections);
        survey::look(options.root, &options.externals, (&outside, tracking), wanted)
    };
    let found = patience::until_passed(look, |looked| {
        looked.as_ref().map_or(Vec::new(), |found| found.obstacles.clone())
    })?;
    if found.obstacles.is_empty() { Ok(found) } else { Err(Error::Obstacles(found.obstacles)) }
}

/// A process whose pages are to be copied.
struct Noted {
    own_pid: NsPid,
    found: Found,
    untouched: Vec<std::ops::Range<u64>>,
}

/// What must be done while nothing moves.
fn note(
    tree: &mut StoppedTree,
    sleepers: &Sleepers,
    before: Option<Tracking>,
    round: String,
) -> Result<(Vec<Noted>, Tracking), Error> {
    let stopped_at_ns = read_clocks().monotonic.as_nanoseconds();
    for patient in tree.patients_mut() {
        let pending = &signal::freeze_pending(patient.pid(), Queue::Process)?;
        thread::pass_over_stop(patient, &Moment { pending, sleepers, stopped_at_ns })?;
    }
    let untouched = match &before {
        Some(tracking) => tracking.untouched(tree)?,
        None => Untouched::default(),
    };
    let found = tree.patients().iter().map(|patient| find(patient, &untouched));
    let found = found.collect::<Result<Vec<_>, Error>>()?;
    let tracking = Tracking::next(before, tree, round)?;
    Ok((found, tracking))
}

fn find(patient: &Patient, untouched: &Untouched) -> Result<Noted, Error> {
    Ok(Noted {
        own_pid: NsPid(patient.own_pid()),
        found: pages::find_for_later(patient, &areas_of(patient.proc())?)?,
        untouched: untouched.of(patient).to_vec(),
    })
}

/// Copies what was found while the tree runs.
fn write(
    writer: &Writer,
    noted: &[Noted],
    round: &str,
    phases: &mut Phases,
) -> Result<(Counts, u64), Error> {
    let mut counts = Counts::default();
    for process in noted {
        let pages = writer.pages(PageOwner::Process(process.own_pid))?;
        let mut sink = Pages { pages, deadline: Deadline::NONE };
        counts += pages::store_running(&process.found, &process.untouched, &mut sink)?;
        sink.pages.finish()?;
    }
    phases.end("pages");
    writer.write_stats(&statistics(phases, counts))?;
    let facts =
        Facts { run_id: Some(round.to_owned()), uptime_us: uptime_us(), ..Facts::default() };
    writer.write_round(&facts)?;
    let bytes_written = writer.bytes_written()?;
    phases.end("write");
    Ok((counts, bytes_written))
}

fn statistics(phases: &Phases, counts: Counts) -> DumpStats {
    let micros = |name: &str| u32::try_from(phases.of(name).as_micros()).unwrap_or(u32::MAX);
    DumpStats {
        freezing_us: micros("stop"),
        frozen_us: micros("note"),
        memdump_us: micros("pages"),
        memwrite_us: micros("pages"),
        pages_scanned: counts.written + counts.unchanged,
        pages_skipped_parent: counts.unchanged,
        pages_written: counts.written,
        ..DumpStats::default()
    }
}
