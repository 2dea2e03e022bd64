//! `process`: trees of processes without a container.

use std::{
    fs::{self, DirBuilder, File},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use serde_json::{Value, json};
use stasis_container::{Home, Keepers, PacketFilter};
use stasis_engine::{
    CheckpointOptions, Externals, Fate, FrozenConnections, Keeping, Pages, Parents, PreDumpOptions,
    Previous, Report, RestoreOptions, RestoreRoot, Since, SurveyedConnections, ThawedConnections,
    Tracking,
};
use stasis_model::Obstacle;

use crate::{
    args::{
        CheckArgs, ConnectionArgs, DumpArgs, PreDumpArgs, ProcessArgs, ProcessCommand, RestoreArgs,
    },
    failure::{Failure, Result},
};

pub fn run(home: &Home, command: ProcessCommand, level: tracing::Level) -> Result<i32> {
    let keepers = Keepers::new(home);
    match command {
        ProcessCommand::Dump(args) => dump(&keepers, &args, level),
        ProcessCommand::PreDump(args) => pre_dump(&keepers, &args, level),
        ProcessCommand::Restore(args) => restore(&args, level),
        ProcessCommand::Check(args) => check(&keepers, &args),
    }
}

/// A round of memory. Who keeps the notes until the next one is a process of ours.
fn pre_dump(keepers: &Keepers, args: &PreDumpArgs, level: tracing::Level) -> Result<i32> {
    let images_dir = make_images_dir(&args.images_dir)?;
    log_to(&args.common, &images_dir, level)?;
    let tracking = keepers.take(args.tree)?;
    let since = since(args.prev_images_dir.as_deref(), &images_dir, tracking)?;
    let options = PreDumpOptions {
        root: args.tree,
        images_dir,
        shell_job: args.common.shell_job,
        externals: Externals::default(),
        connections: surveyed(&args.connections),
    };
    let (report, tracking) = stasis_engine::pre_dump(&options, since)?;
    keepers.keep(args.tree, &tracking)?;
    tell(&report, args.common.stats);
    Ok(0)
}

/// What changed since the round in `previous`, if that is known.
fn since(
    previous: Option<&Path>,
    images_dir: &Path,
    tracking: Option<Tracking>,
) -> Result<Option<Since>> {
    let Some(link) = previous else { return Ok(None) };
    let cannot = |error: std::io::Error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot use the directory {}", link.display()))
    };
    let dir = fs::canonicalize(images_dir.join(link)).map_err(cannot)?;
    let round = stasis_engine::round_of(&dir).map_err(stasis_engine::Error::from)?;
    match tracking.filter(|tracking| round.as_deref() == Some(tracking.round())) {
        Some(tracking) => {
            let link = Some(link.to_owned());
            let previous = Previous { dir, parents: Parents::Linked, link };
            Ok(Some(Since { previous, tracking }))
        }
        None => {
            eprintln!(
                "warning: nobody knows what changed since {}: all memory is written",
                dir.display()
            );
            Ok(None)
        }
    }
}

fn dump(keepers: &Keepers, args: &DumpArgs, level: tracing::Level) -> Result<i32> {
    let images_dir = make_images_dir(&args.images_dir)?;
    log_to(&args.common, &images_dir, level)?;
    // Also if nobody asks for them: the tree is not to be watched any more.
    let tracking = keepers.take(args.tree)?;
    let since = since(args.prev_images_dir.as_deref(), &images_dir, tracking)?;
    let fate = match (args.leave_running, args.leave_stopped) {
        (true, _) => Fate::LeaveRunning,
        (false, true) => Fate::LeaveStopped,
        (false, false) => Fate::Kill,
    };
    let report = stasis_engine::checkpoint(CheckpointOptions {
        root: args.tree,
        images_dir,
        fate,
        shell_job: args.common.shell_job,
        externals: Externals::default(),
        deadline: None,
        connections: match surveyed(&args.connections) {
            SurveyedConnections::Refused => FrozenConnections::Refused,
            SurveyedConnections::Kept => FrozenConnections::Kept(&PacketFilter),
            SurveyedConnections::Closed => FrozenConnections::Closed,
        },
        since,
        while_stopped: None,
    })?;
    tell(&report, args.common.stats);
    Ok(0)
}

/// What the user wants of connections.
fn surveyed(args: &ConnectionArgs) -> SurveyedConnections {
    match (args.tcp_established, args.tcp_close) {
        (true, _) => SurveyedConnections::Kept,
        (false, true) => SurveyedConnections::Closed,
        (false, false) => SurveyedConnections::Refused,
    }
}

fn make_images_dir(dir: &Path) -> Result<PathBuf> {
    let cannot = |error: std::io::Error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot use the directory {}", dir.display()))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(cannot)?;
    fs::canonicalize(dir).map_err(cannot)
}

fn restore(args: &RestoreArgs, level: tracing::Level) -> Result<i32> {
    let images_dir = fs::canonicalize(&args.images_dir).map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot use the directory {}", args.images_dir.display()))
    })?;
    log_to(&args.common, &images_dir, level)?;
    if args.host.dry_run {
        let fitness =
            stasis_engine::check_restore(&images_dir, &Parents::Linked, args.host.cpu_cap)?;
        return Ok(tell_fitness(&images_dir.display().to_string(), &fitness.obstacles));
    }
    if !args.restore_detached {
        // The root becomes our child whoever makes it.
        set_child_subreaper(Some(getpid())).map_err(std::io::Error::from)?;
    }
    let restored = stasis_engine::restore(RestoreOptions {
        images_dir,
        parents: Parents::Linked,
        root: RestoreRoot::New,
        shell_job: args.common.shell_job,
        cpu: args.host.cpu_cap,
        pages: Pages::Own,
        inherited: std::collections::BTreeMap::new(),
        connections: match surveyed(&args.connections) {
            SurveyedConnections::Refused => ThawedConnections::Refused,
            SurveyedConnections::Kept => {
                ThawedConnections::Kept(Keeping::Everything, &PacketFilter)
            }
            SurveyedConnections::Closed => ThawedConnections::Closed(&PacketFilter),
        },
        abandoned: None,
    })?;
    if let Some(path) = &args.pidfile {
        write_pidfile(path, restored.root)?;
    }
    tell(&restored.report, args.common.stats);
    if args.restore_detached { Ok(0) } else { wait_for(restored.root) }
}

/// Says yes, or no with all reasons; exit code 1 if no.
pub fn tell_fitness(what: &str, obstacles: &[Obstacle]) -> i32 {
    for obstacle in obstacles {
        say!("obstacle: {obstacle}");
    }
    if obstacles.is_empty() {
        say!("{what} can be restored here");
    }
    i32::from(!obstacles.is_empty())
}

fn write_pidfile(path: &Path, pid: i32) -> Result<()> {
    fs::write(path, pid.to_string()).map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!(
            "cannot write the pid to {}; the tree runs as {pid}",
            path.display()
        ))
    })
}

/// Waits for the root and ends with its exit code.
fn wait_for(root: i32) -> Result<i32> {
    let lost = || Failure::new(format!("cannot wait for process {root}"));
    let pid = Pid::from_raw(root).ok_or_else(lost)?;
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
    let (_, status) = ended.map_err(|_| lost())?.ok_or_else(lost)?;
    Ok(status.exit_status().or(status.terminating_signal().map(|s| 128 + s)).unwrap_or(255))
}

/// Prints all that would stand in the way; exit code 1 if anything would.
fn check(keepers: &Keepers, args: &CheckArgs) -> Result<i32> {
    let tracking = keepers.look(args.tree)?;
    let wanted = surveyed(&args.connections);
    let (obstacles, losses) =
        stasis_engine::check(args.tree, &Externals::default(), wanted, tracking.as_ref())?;
    for obstacle in &obstacles {
        say!("obstacle: {obstacle}");
    }
    for loss in &losses {
        say!("loss: {loss}");
    }
    if obstacles.is_empty() {
        say!("process {} can be frozen", args.tree);
    }
    Ok(i32::from(!obstacles.is_empty()))
}

/// What was left out goes to standard error, figures to standard output.
pub fn tell(report: &Report, with_stats: bool) {
    for loss in &report.losses {
        eprintln!("warning: not preserved: {loss}");
    }
    if with_stats {
        say!("{}", stats(report));
    }
}

/// The figures of a report.
pub fn stats(report: &Report) -> Value {
    let stats = &report.stats;
    let micros = |duration: &std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(0);
    let phases: Vec<Value> = stats
        .phases
        .iter()
        .map(|(name, duration)| json!({ "phase": name, "us": micros(duration) }))
        .collect();
    json!({
        "phases": phases,
        "stopped_us": micros(&stats.stopped),
        "tasks": stats.nr_tasks,
        "threads": stats.nr_threads,
        "pages": stats.nr_pages,
        "pages_unchanged": stats.nr_unchanged,
        "bytes_written": stats.bytes_written,
    })
}

fn log_to(args: &ProcessArgs, images_dir: &Path, level: tracing::Level) -> Result<()> {
    let level = level.max(args.level());
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let set = match &args.log_file {
        None => {
            tracing::subscriber::set_global_default(builder.with_writer(std::io::stderr).finish())
        }
        Some(path) => {
            let path = images_dir.join(path);
            let mut file = File::create(&path).map_err(|error| Failure {
                cause: Some(error.to_string()),
                ..Failure::new(format!("cannot write messages to {}", path.display()))
            })?;
            file.flush()?;
            let writer = std::sync::Mutex::new(file);
            tracing::subscriber::set_global_default(
                builder.with_ansi(false).with_writer(writer).finish(),
            )
        }
    };
    set.map_err(|error| Failure::new(error.to_string()))
}
