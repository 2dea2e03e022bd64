//! `checkpoint` and `start --checkpoint`.

use serde_json::{Value, json};
use stasis_container::{
    Container, Existing, Fate, LeftOut, Restoring, Store, Stored, Wanted, Wish, attach::Session,
};

use super::process;
use crate::{
    args::{
        CheckpointCommand, CheckpointCreateArgs, CheckpointLsArgs, CheckpointRmArgs, StartArgs,
    },
    failure::Result,
    format::Template,
    size, time,
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
    let made = container.checkpoint(&Wanted {
        name: &args.name,
        dir: args.checkpoint_dir.as_deref(),
        fate,
        left_out: LeftOut::default(),
        existing: Existing::Refuse,
        deadline: None,
    })?;
    say!("{}", args.name);
    process::tell(&made.report, args.stats);
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

fn row(Stored { checkpoint, .. }: &Stored) -> Value {
    json!({
        "Name": checkpoint.name,
        "CreatedSince": format!("{} ago", time::since(checkpoint.created)),
        "CreatedAt": time::local(checkpoint.created),
        "Size": size::human(checkpoint.size_bytes),
        "SizeBytes": checkpoint.size_bytes,
        "Parent": checkpoint.parent.as_ref().map(|parent| parent.name.clone()).unwrap_or_default(),
        "Kernel": checkpoint.host.as_ref().map(|host| host.kernel.clone()).unwrap_or_default(),
        "Container": checkpoint.container.name,
    })
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
    let restoring = begin(container, name, args)?;
    process::tell(&restoring.finish()?, false);
    Ok(())
}

/// As [`start`]; the session sees all output from the first byte on.
pub fn start_attached(container: &Container, name: &str, args: &StartArgs) -> Result<Session> {
    let restoring = begin(container, name, args)?;
    let session = container.attach()?;
    process::tell(&restoring.finish()?, false);
    Ok(session)
}

fn begin<'a>(container: &'a Container, name: &str, args: &StartArgs) -> Result<Restoring<'a>> {
    let stored = container.find_checkpoint(name, args.checkpoint_dir.as_deref())?;
    Ok(container.begin_restore(&stored, Wish { cpu: args.cpu_cap, ..Wish::default() })?)
}
