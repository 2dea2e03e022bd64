//! `container migrate`, and `container receive` at the other end.

use std::{
    io,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use stasis_container::{Container, Migrate, Migrated, Removal, RoundFigures, Store, VolumesOf};

use super::process;
use crate::{
    args::migration::ContainerMigrateArgs,
    failure::{Failure, Result},
    parse, size,
};

/// Moves a container; it runs on here unless it runs there.
pub fn migrate(store: &Store, args: &ContainerMigrateArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    let migrate = Migrate {
        max_rounds: args.rounds.max(1),
        enough_bytes: parse::bytes(&args.threshold)?.unsigned_abs(),
        compression: args.compress,
        new_name: args.name.as_deref(),
        keeps_connections: args.tcp_established,
    };
    let mut other = reach(args)?;
    let (mut input, mut output) = match (other.stdout.take(), other.stdin.take()) {
        (Some(input), Some(output)) => (input, output),
        (_, _) => return Err(Failure::new("the command for the other end has no streams")),
    };
    let mut tell = |number: usize, round: &RoundFigures| {
        if !args.print_stats {
            say!("{}", line_of(number, round));
        }
    };
    let moved = container.migrate(&migrate, (&mut input, &mut output), &mut tell);
    // It ends when nobody speaks to it any more.
    drop((input, output));
    let ended = other.wait();
    let migrated = moved.map_err(|error| {
        let hint = match ended {
            Ok(status) if !status.success() => format!("the way there ended with {status}"),
            _ => "the container runs on here".into(),
        };
        Failure::from(error).hint(hint)
    })?;
    process::tell(&migrated.report, false);
    if args.print_stats {
        say!("{:#}", figures(&container, &migrated));
    } else {
        say!("{}", last_line(args, &migrated));
    }
    if args.rm {
        remove(&container)?;
    }
    Ok(0)
}

/// Starts what leads to the other end.
fn reach(args: &ContainerMigrateArgs) -> Result<Child> {
    let mut command = match (&args.via, &args.dest) {
        (Some(via), _) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(via);
            shell
        }
        (None, dest) => {
            let mut ssh = Command::new("ssh");
            ssh.args(["-T", "--", dest.as_deref().unwrap_or_default()]);
            ssh.args(["stasis", "container", "receive"]);
            ssh
        }
    };
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    started.map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new("cannot start the command that leads to the other end")
    })
}

/// One that was started with `--rm` is gone already.
fn remove(container: &Container) -> Result<()> {
    match container.remove(Removal::Refuse, VolumesOf::Keep) {
        Err(stasis_container::Error::NoSuchContainer(_)) => Ok(()),
        removed => Ok(removed?),
    }
}

fn line_of(number: usize, round: &RoundFigures) -> String {
    const PAGE_BYTES: u64 = 4096;
    format!(
        "round {number}: {} of memory, {} sent in {}, stopped for {}",
        size::short(round.nr_pages * PAGE_BYTES),
        size::short(round.bytes_sent),
        time(round.took),
        time(round.stopped),
    )
}

fn last_line(args: &ContainerMigrateArgs, migrated: &Migrated) -> String {
    format!(
        "{} runs there: {} sent, {} of it while it stood still for {}",
        args.name.as_deref().unwrap_or(&args.container),
        size::short(migrated.bytes_sent),
        size::short(migrated.bytes_sent_stopped),
        time(migrated.downtime),
    )
}

fn time(time: Duration) -> String {
    match time.as_millis() {
        millis @ ..10_000 => format!("{millis} ms"),
        millis => format!("{} s", millis / 1000),
    }
}

fn figures(container: &Container, migrated: &Migrated) -> Value {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let rounds = migrated.rounds.iter().map(|round| {
        json!({
            "pages": round.nr_pages,
            "pages_unchanged": round.nr_unchanged,
            "bytes_sent": round.bytes_sent,
            "us": micros(round.took),
            "stopped_us": micros(round.stopped),
        })
    });
    json!({
        "Id": container.config.id,
        "rounds": rounds.collect::<Vec<_>>(),
        "downtime_us": micros(migrated.downtime),
        "bytes_sent": migrated.bytes_sent,
        "bytes_sent_of_image": migrated.bytes_sent_of_image,
        "bytes_sent_stopped": migrated.bytes_sent_stopped,
        "stasis_statistics": process::stats(&migrated.report),
    })
}

/// Takes a container in; what there is to tell goes to standard error, for standard output is taken.
pub fn receive(store: &Store) -> Result<i32> {
    let received = store.receive(&mut io::stdin(), &mut io::stdout())?;
    for loss in &received.report.losses {
        eprintln!("warning: not preserved: {loss}");
    }
    tracing::info!("container {} has come", received.container.config.name);
    Ok(0)
}
