//! Takes every program of the zoo through checkpoint and restore.
//!
//! Each is played in several ways: `plain` (is the program right by itself?), `run-on` (the dump
//! lets it run: was it harmed?), `restore` (dumped, killed, restored), `twice` (and once more),
//! `then-restore` (first dumped running on, then killed and restored), `rounds` (two rounds of its
//! memory before the dump). A
//! program that must be refused is dumped in vain and must then go on unharmed (`refused`). What
//! proc shows of the tree is compared as well.

mod process_support;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use libtest_mimic::{Arguments, Trial};
use process_support::{foreign, play::Play};

#[derive(Clone)]
struct Program {
    name: String,
    kind: Kind,
    goal: String,
}

#[derive(Clone)]
enum Kind {
    Survives,
    Refused(String),
    KeptOrRefused(String),
}

type Way = fn(&mut Play, &Kind) -> anyhow::Result<()>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of the time they wait.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(3 * processors);
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: cannot open the zoo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> anyhow::Result<Vec<Trial>> {
    // Orphans of the trees come to us, and so do restored roots.
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    let zoo: Arc<Path> = zoo_binary()?.into();
    let programs = list(&zoo)?;
    ensure!(programs.len() > 100, "the zoo has only {} programs", programs.len());
    let mut trials = Vec::new();
    for program in programs {
        for (name, way) in ways(&program) {
            let (program, zoo) = (program.clone(), Arc::clone(&zoo));
            let name = format!("{}::{name}", program.name);
            let gap = gap(&name);
            if let Some(why) = gap {
                eprintln!("not run: {name}: {why}");
            }
            let trial = Trial::test(name, move || {
                play(&zoo, &program, way).map_err(|error| format!("{error:#}").into())
            });
            trials.push(trial.with_ignored_flag(gap.is_some()));
        }
    }
    trials.push(foreign::busybox_counter());
    Ok(trials)
}

/// The binary named by `ZOO_BIN`, or one built now beside `stasis`.
fn zoo_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("ZOO_BIN") {
        return Ok(path.into());
    }
    let stasis = Path::new(env!("CARGO_BIN_EXE_stasis"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "zoo"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if stasis.parent().is_some_and(|dir| dir.ends_with("release")) {
        build.arg("--release");
    }
    ensure!(build.status()?.success(), "cannot build the zoo");
    Ok(stasis.with_file_name("zoo"))
}

fn list(zoo: &Path) -> anyhow::Result<Vec<Program>> {
    let output = Command::new(zoo).arg("list").output()?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(parse).collect()
}

/// What the engine cannot do yet, and why; these are shown as ignored, never as passed.
const GAPS: &[(&str, &str)] = &[
    (
        "sockets/packet_pairs::then-restore",
        "the kernel hides an empty datagram from the second peek (SO_PEEK_OFF), so a second checkpoint \
         of the same queue does not see it",
    ),
    (
        "tasks/stopped_known",
        "whether a parent has already been told of a stop is not stored, so it is told again",
    ),
    (
        "timers/posix_overrun::twice",
        "the overrun count of a signal that waits is not put back, so a second checkpoint loses it",
    ),
    (
        "refused/kernel_keyring::restore-or-refused",
        "only the task itself can tell that it has a session keyring of its own",
    ),
];

/// Why a test is not run, if so.
fn gap(test: &str) -> Option<&'static str> {
    let plain = test.ends_with("::plain") || test.ends_with("::run-on");
    GAPS.iter().find(|(name, _)| test.starts_with(name) && !plain).map(|(_, why)| *why)
}

fn parse(line: &str) -> anyhow::Result<Program> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, kind, word, goal] = fields[..] else { bail!("not a program: {line}") };
    let kind = match kind {
        "survives" => Kind::Survives,
        "refused" => Kind::Refused(word.into()),
        "kept-or-refused" => Kind::KeptOrRefused(word.into()),
        other => bail!("{name} is of unknown kind {other}"),
    };
    Ok(Program { name: name.into(), kind, goal: goal.into() })
}

/// Groups whose programs notice that rounds are taken, if anything goes wrong.
const IN_ROUNDS: [&str; 4] = ["calls/", "memory/", "tasks/", "timers/"];

fn ways(program: &Program) -> Vec<(&'static str, Way)> {
    let in_rounds = IN_ROUNDS.iter().any(|group| program.name.starts_with(group));
    let ways = ways_of(&program.kind).iter();
    ways.filter(|(name, _)| *name != "rounds" || in_rounds).copied().collect()
}

fn ways_of(kind: &Kind) -> &'static [(&'static str, Way)] {
    match kind {
        Kind::Survives => &[
            ("plain", plain),
            ("run-on", run_on),
            ("restore", restore),
            ("twice", twice),
            ("then-restore", run_on_then_restore),
            ("rounds", rounds),
        ],
        Kind::Refused(_) => &[("plain", plain), ("refused", refused)],
        Kind::KeptOrRefused(_) => {
            &[("plain", plain), ("run-on", run_on), ("restore-or-refused", restore_or_refused)]
        }
    }
}

fn play(zoo: &Path, program: &Program, way: Way) -> anyhow::Result<()> {
    let mut play = Play::start(zoo, &[&program.name])?.with_options(options(&program.name));
    way(&mut play, &program.kind).with_context(|| format!("goal: {}", program.goal))
}

/// Connections are only kept if somebody says so.
fn options(program: &str) -> &'static [&'static str] {
    match program {
        "sockets/tcp_reset" => &["--tcp-close"],
        name if name.starts_with("sockets/tcp_") => &["--tcp-established"],
        _ => &[],
    }
}

fn plain(play: &mut Play, _: &Kind) -> anyhow::Result<()> {
    play.verdict()
}

fn run_on(play: &mut Play, kind: &Kind) -> anyhow::Result<()> {
    let before = play.look_twice();
    let checked = play.check()?;
    let dumped = play.dump(&["--leave-running"])?;
    match kind {
        Kind::KeptOrRefused(word) if !dumped.success => {
            ensure!(dumped.says(word), "refused without {word:?}: {}", dumped.story());
        }
        _ => {
            dumped.expect_success()?;
            checked.expect_success()?;
        }
    }
    play.compare(&before)?;
    play.verdict()
}

fn restore(play: &mut Play, _: &Kind) -> anyhow::Result<()> {
    let before = play.look_twice();
    play.dump_and_restore()?;
    play.compare(&before)?;
    play.verdict()
}

fn twice(play: &mut Play, _: &Kind) -> anyhow::Result<()> {
    let before = play.look_twice();
    play.dump_and_restore()?;
    play.dump_and_restore()?;
    play.compare(&before)?;
    play.verdict()
}

fn run_on_then_restore(play: &mut Play, _: &Kind) -> anyhow::Result<()> {
    let before = play.look_twice();
    play.dump(&["--leave-running"])?.expect_success()?;
    play.dump_and_restore()?;
    play.compare(&before)?;
    play.verdict()
}

fn rounds(play: &mut Play, _: &Kind) -> anyhow::Result<()> {
    let before = play.look_twice();
    play.pre_dump()?.expect_success()?;
    play.pre_dump()?.expect_success()?;
    ensure!(play.is_tracked(), "nobody notes what it writes to");
    play.dump_and_restore()?;
    ensure!(!play.is_tracked(), "somebody still notes what it writes to");
    play.compare(&before)?;
    play.verdict()
}

fn refused(play: &mut Play, kind: &Kind) -> anyhow::Result<()> {
    let (Kind::Refused(word) | Kind::KeptOrRefused(word)) = kind else {
        bail!("this program is not to be refused")
    };
    let before = play.look_twice();
    let checked = play.check()?;
    ensure!(!checked.success, "the check sees no obstacle: {}", checked.story());
    ensure!(checked.says(word), "the check does not say {word:?}: {}", checked.story());
    let dumped = play.dump(&[])?;
    ensure!(!dumped.success, "not refused: {}", dumped.story());
    ensure!(dumped.says(word), "refused without {word:?}: {}", dumped.story());
    play.compare(&before)?;
    play.verdict()
}

fn restore_or_refused(play: &mut Play, kind: &Kind) -> anyhow::Result<()> {
    let (Kind::Refused(word) | Kind::KeptOrRefused(word)) = kind else {
        bail!("this program is not to be refused")
    };
    let checked = play.check()?;
    if !checked.success {
        return refused(play, kind);
    }
    // What is told as a loss may be lost.
    let told = checked.says(word);
    match restore(play, kind) {
        Err(_) if told => Ok(()),
        result => result,
    }
}
