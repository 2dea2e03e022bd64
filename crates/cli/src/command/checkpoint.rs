//! `checkpoint` and `start --checkpoint`.

mod diff;
mod filter;
mod inspect;
mod list;
mod prune;
mod shelf;
mod transfer;
mod tree;
mod verify;

pub use prune::remove as remove_superfluous;
pub use shelf::{Ids, Shelf};
pub use transfer::{unpack, unpack_fetching};

use stasis_container::{
    Container, Existing, Fate, LeftOut, MemoryWritten, Restoring, Store, Wanted, Wish,
    attach::Session,
};
use stasis_engine::Keeping;

use super::process;
use crate::{
    args::{
        CheckpointCheckArgs, CheckpointCommand, CheckpointCreateArgs, CheckpointRmArgs,
        CheckpointTagArgs, StartArgs,
    },
    failure::{Failure, Result},
};

pub fn run(store: &Store, command: CheckpointCommand) -> Result<i32> {
    match command {
        CheckpointCommand::Create(args) => create(store, &args),
        CheckpointCommand::Ls(args) => list::run(store, &args),
        CheckpointCommand::Inspect(args) => inspect::run(store, &args),
        CheckpointCommand::Rm(args) => remove(store, &args),
        CheckpointCommand::Prune(args) => prune::run(store, &args),
        CheckpointCommand::Tag(args) => tag(store, &args),
        CheckpointCommand::Untag(args) => {
            each(&args.tags, |tag| Ok(store.checkpoints().untag(tag)?))
        }
        CheckpointCommand::Export(args) => transfer::export(store, &args),
        CheckpointCommand::Import(args) => transfer::import(store, &args),
        CheckpointCommand::Verify(args) => verify::run(store, &args),
        CheckpointCommand::Check(args) => check(store, &args),
        CheckpointCommand::Diff(args) => diff::run(store, &args),
    }
}

/// Exit code 1 if one of them cannot be restored here.
fn check(store: &Store, args: &CheckpointCheckArgs) -> Result<i32> {
    let mut code = 0;
    for reference in &args.checkpoints {
        let stored = store.checkpoints().find(reference)?;
        let obstacles = store.obstacles_here(&stored, args.cpu_cap)?;
        code |= process::tell_fitness(&format!("checkpoint {reference}"), &obstacles);
    }
    Ok(code)
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
        memory: MemoryWritten::All,
    })?;
    say!("{}", args.name);
    process::tell(&made.report, args.stats);
    Ok(0)
}

fn tag(store: &Store, args: &CheckpointTagArgs) -> Result<i32> {
    let checkpoints = store.checkpoints();
    checkpoints.tag(&checkpoints.find(&args.checkpoint)?, &args.tag)?;
    Ok(0)
}

fn remove(store: &Store, args: &CheckpointRmArgs) -> Result<i32> {
    let dir = args.checkpoint_dir.as_deref();
    if let [first, names @ ..] = args.names.as_slice()
        && !names.is_empty()
        && (dir.is_some() || is_container(store, first, &names[0]))
    {
        let container = store.find(first)?;
        return each(names, |name| Ok(container.remove_checkpoint(name, dir)?));
    }
    if dir.is_some() {
        return Err(Failure::new("--checkpoint-dir needs a container and names of checkpoints"));
    }
    let checkpoints = store.checkpoints();
    each(&args.names, |reference| {
        if store.find(reference).is_ok_and(|container| container.config.name == reference) {
            return Err(Failure::new(format!("{reference} is a container and no checkpoint"))
                .hint(format!("name what shall go: stasis checkpoint rm {reference} NAME")));
        }
        Ok(checkpoints.remove(&checkpoints.find(reference)?)?)
    })
}

/// Docker names the container first. A word that may be the beginning of an id of either is a container
/// if that one has the checkpoint which follows.
fn is_container(store: &Store, first: &str, second: &str) -> bool {
    store.find(first).is_ok_and(|container| {
        container.config.name == first
            || container.find_checkpoint(second, None).is_ok()
            || store.checkpoints().find(first).is_err()
    })
}

/// Does one thing to each and prints it; one that fails does not keep the others from their turn.
fn each(words: &[String], act: impl Fn(&str) -> Result<()>) -> Result<i32> {
    let mut code = 0;
    for word in words {
        match act(word) {
            Ok(()) => say!("{word}"),
            Err(failure) => {
                eprintln!("{failure}");
                code = failure.code;
            }
        }
    }
    Ok(code)
}

/// Removes the checkpoints of a container that was removed; those with a tag stay.
pub fn remove_of(store: &Store, container: &Container) -> Result<()> {
    let shelf = Shelf::read(store)?;
    let own = shelf.all.iter().filter(|stored| stored.is_of(&container.config.id));
    for stored in own.filter(|stored| shelf.tags(stored).is_empty()) {
        store.checkpoints().remove(stored)?;
    }
    tell_of(store, container)
}

/// Tells which checkpoints of a removed container are left.
pub fn tell_of(store: &Store, container: &Container) -> Result<()> {
    let left: Vec<String> = store
        .checkpoints()
        .of(&container.config.id)?
        .iter()
        .map(|stored| format!("{} ({})", stored.checkpoint.name, stored.short_id()))
        .collect();
    if !left.is_empty() {
        eprintln!("checkpoints of {} are kept: {}", container.config.name, left.join(", "));
    }
    Ok(())
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
    let keeping = match (args.tcp_established, args.tcp_close) {
        (true, _) => Keeping::Everything,
        (false, true) => Keeping::Nothing,
        (false, false) => Keeping::Possible,
    };
    let wish = Wish { cpu: args.cpu_cap, keeping, ..Wish::default() };
    Ok(container.begin_restore(&stored, wish)?)
}
