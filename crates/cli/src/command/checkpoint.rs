//! `checkpoint` and `start --checkpoint`.

use serde_json::{Value, json};
use stasis_container::{Checkpoint, Container, Fate, Store, attach::Session};

use super::process;
use crate::{
    args::{
        CheckpointCommand, CheckpointCreateArgs, CheckpointLsArgs, CheckpointRmArgs, StartArgs,
    },
    failure::Result,
    format::Template,
    time,
};

pub fn run(store: &Store, command: CheckpointCommand) -> Result<i32> {
    match command {
        CheckpointCommand::Create(args) => create(store, &args),
        CheckpointCommand::Ls(args) => list(store, &args),
        CheckpointCommand::Rm(args) => remove(store, &args),
    }
}

fn create(store: &Store, args: &CheckpointCreateArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    let fate = if args.leave_running { Fate::LeaveRunning } else { Fate::Stop };
    let report = container.checkpoint(&args.name, args.checkpoint_dir.as_deref(), fate)?;
    say!("{}", args.name);
    process::tell(&report, args.stats);
    Ok(0)
}

const TITLES: [(&str, &str); 5] = [
    ("Name", "CHECKPOINT NAME"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Parent", "PARENT"),
];

fn list(store: &Store, args: &CheckpointLsArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    let rows: Vec<Value> =
        container.checkpoints(args.checkpoint_dir.as_deref())?.iter().map(row).collect();
    if args.quiet {
        rows.iter().for_each(|row| say!("{}", row["Name"].as_str().unwrap_or_default()));
        return Ok(0);
    }
    let default = "table {{.Name}}\t{{.CreatedSince}}\t{{.Size}}\t{{.Parent}}";
    let format = args.format.as_deref().filter(|format| *format != "table").unwrap_or(default);
    let text = Template::parse(format)?.render_all(&rows, &TITLES)?;
    if !text.is_empty() {
        say!("{text}");
    }
    Ok(0)
}

fn row(checkpoint: &Checkpoint) -> Value {
    json!({
        "Name": checkpoint.name,
        "CreatedSince": format!("{} ago", time::since(checkpoint.created)),
        "CreatedAt": time::local(checkpoint.created),
        "Size": size(checkpoint.size_bytes),
        "SizeBytes": checkpoint.size_bytes,
        "Parent": checkpoint.parent.clone().unwrap_or_default(),
        "Kernel": checkpoint.kernel,
        "Container": checkpoint.container.name,
    })
}

/// Docker's units: thousands, four digits.
#[allow(clippy::cast_precision_loss)] // four digits are shown
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    let digits = match value {
        ..10.0 => 3,
        10.0..100.0 => 2,
        100.0..1000.0 => 1,
        _ => 0,
    };
    let number = format!("{value:.digits$}");
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    format!("{number}{unit}")
}

fn remove(store: &Store, args: &CheckpointRmArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    for name in &args.names {
        container.remove_checkpoint(name, args.checkpoint_dir.as_deref())?;
        say!("{name}");
    }
    Ok(0)
}

/// Goes on from a checkpoint.
pub fn start(container: &Container, name: &str, args: &StartArgs) -> Result<()> {
    let restoring = container.begin_restore(name, args.checkpoint_dir.as_deref())?;
    process::tell(&restoring.finish()?, false);
    Ok(())
}

/// As [`start`]; the session sees all output from the first byte on.
pub fn start_attached(container: &Container, name: &str, args: &StartArgs) -> Result<Session> {
    let restoring = container.begin_restore(name, args.checkpoint_dir.as_deref())?;
    let session = container.attach()?;
    process::tell(&restoring.finish()?, false);
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_dockers() {
        for (bytes, expect) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234_567, "1.235MB"),
            (12_000_000_000, "12GB"),
        ] {
            assert_eq!(size(bytes), expect);
        }
    }
}
