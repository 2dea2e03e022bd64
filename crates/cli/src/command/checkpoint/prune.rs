//! `checkpoint prune`.

use stasis_container::{Error, Store, Stored};

use super::{filter::Filters, shelf::Shelf};
use crate::{
    args::CheckpointPruneArgs,
    confirm,
    failure::{Failure, Result},
    parse, size,
};
use stasis_container::retention::{Among, Candidate, Policy, superfluous};

pub fn run(store: &Store, args: &CheckpointPruneArgs) -> Result<i32> {
    let filters = Filters::parse_prune(&args.filter)?;
    let policy = policy(args)?;
    if !args.force && !confirm::ask(warning(&policy))? {
        return Ok(0);
    }
    let (gone, len_bytes) = remove(store, policy, &|shelf, stored| filters.matches(shelf, stored))?;
    if !gone.is_empty() {
        say!("Deleted Checkpoints:\n{}\n", gone.join("\n"));
    }
    say!("Total reclaimed space: {}", size::human(len_bytes));
    Ok(0)
}

/// Removes what a policy says of those that are `wanted`; tells which, and how much that was.
pub fn remove(
    store: &Store,
    policy: Policy,
    wanted: &dyn Fn(&Shelf, &Stored) -> bool,
) -> Result<(Vec<String>, u64)> {
    let shelf = Shelf::read(store)?;
    let needed = store.checkpoints().needed()?;
    let candidates: Vec<Candidate<'_>> = shelf
        .all
        .iter()
        .map(|stored| Candidate {
            container: &stored.checkpoint.container.id,
            size_bytes: stored.checkpoint.size_bytes,
            is_orphan: !shelf.has_container(stored),
            is_spared: needed.contains(&stored.checkpoint.id)
                || !shelf.tags(stored).is_empty()
                || !wanted(&shelf, stored),
        })
        .collect();
    let (mut gone, mut len_bytes) = (Vec::new(), 0);
    for index in superfluous(&candidates, policy) {
        let stored = &shelf.all[index];
        match store.checkpoints().remove(stored) {
            Ok(()) => {
                gone.push(format!("{} ({})", shelf.reference(stored), stored.short_id()));
                len_bytes += stored.checkpoint.size_bytes;
            }
            // Another command needs it, or was faster.
            Err(Error::CheckpointInUse(_) | Error::NoSuchCheckpoint(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((gone, len_bytes))
}

fn policy(args: &CheckpointPruneArgs) -> Result<Policy> {
    let max_bytes = match args.max_size.as_deref() {
        None => None,
        Some(text) => match u64::try_from(parse::bytes(text)?) {
            Ok(bytes) => Some(bytes),
            Err(_) => return Err(Failure::new(format!("{text:?} is not a size"))),
        },
    };
    let is_of_all = args.all || args.keep_last.is_some() || max_bytes.is_some();
    let among = if is_of_all { Among::All } else { Among::Orphans };
    Ok(Policy { among, keep_last: args.keep_last, max_bytes })
}

fn warning(policy: &Policy) -> &'static str {
    match (policy.max_bytes, policy.keep_last, policy.among) {
        (Some(_), _, _) => "This will remove the oldest checkpoints of all containers.",
        (None, Some(_), _) => "This will remove all but the last checkpoints of each container.",
        (None, None, Among::All) => "This will remove all checkpoints without a tag.",
        (None, None, Among::Orphans) => {
            "This will remove all checkpoints without a tag whose container is gone."
        }
    }
}
