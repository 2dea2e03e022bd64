//! `checkpoint verify`.

use stasis_container::{Store, Stored};

use super::shelf::Shelf;
use crate::{
    args::CheckpointVerifyArgs,
    failure::{Failure, Result},
};

/// Looks at some or all; one that is damaged does not keep the others from their turn.
pub fn run(store: &Store, args: &CheckpointVerifyArgs) -> Result<i32> {
    let shelf = Shelf::read(store)?;
    let chosen: Vec<Stored> = match args.checkpoints.as_slice() {
        [] => shelf.all.clone(),
        some => {
            let checkpoints = store.checkpoints();
            some.iter().map(|reference| Ok(checkpoints.find(reference)?)).collect::<Result<_>>()?
        }
    };
    let mut nr_faults = 0;
    for stored in &chosen {
        let reference = shelf.reference(stored);
        match stored.verify() {
            Ok(()) if args.quiet => {}
            Ok(()) => say!("{reference} ({}): whole", stored.short_id()),
            Err(error) => {
                say!("{reference} ({}): {error}", stored.short_id());
                nr_faults += 1;
            }
        }
    }
    if args.checkpoints.is_empty() {
        for (id, error) in store.checkpoints().damaged()? {
            say!("{}: {error}", &id[..12]);
            nr_faults += 1;
        }
    }
    match nr_faults {
        0 => Ok(0),
        1 => Err(Failure::new("1 checkpoint is damaged")),
        several => Err(Failure::new(format!("{several} checkpoints are damaged"))),
    }
}
