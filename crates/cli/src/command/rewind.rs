//! `rewind`: a container goes back to a checkpoint in one step.

use stasis_container::{Container, LeftOut, Present, Rewind, Store, Stored, Wish};
use stasis_engine::Keeping;

use super::process;
use crate::{
    args::RewindArgs,
    failure::{Failure, Result},
};

pub fn run(store: &Store, args: &RewindArgs) -> Result<i32> {
    let (container, stored) = chosen(store, args)?;
    let present = match &args.save {
        Some(name) => Present::Kept(name),
        None if args.force => Present::GivenUp,
        None => Present::Passing,
    };
    let left_out = LeftOut { rootfs: false, volumes: args.ignore_volumes };
    // Its peers have gone on.
    let wish = Wish { left_out, keeping: Keeping::Inner, ..Wish::default() };
    let rewound = container.rewind(&stored, &Rewind { wish, present });
    let rewound = rewound.map_err(|error| advise(error, &container, args))?;
    process::tell(&rewound.report, args.stats);
    if !args.stats {
        say!("{}", args.container);
    }
    Ok(0)
}

fn advise(error: stasis_container::Error, container: &Container, args: &RewindArgs) -> Failure {
    use stasis_container::Error as E;
    let is_obstacle =
        matches!(&error, E::WrongState { .. } | E::Engine(stasis_engine::Error::Obstacles(_)));
    let failure = Failure::from(error);
    match is_obstacle && !args.force {
        true => failure.hint(format!(
            "to give the present run of {} up without keeping it, use --force",
            container.config.name
        )),
        false => failure,
    }
}

/// `CONTAINER [CHECKPOINT]`, or `CONTAINER/NAME` alone. Without a checkpoint the newest is meant.
fn chosen(store: &Store, args: &RewindArgs) -> Result<(Container, Stored)> {
    if args.checkpoint.is_none() && args.container.contains('/') {
        let stored = store.checkpoints().find(&args.container)?;
        return Ok((store.find(&stored.checkpoint.container.id)?, stored));
    }
    let container = store.find(&args.container)?;
    let stored = match args.checkpoint.as_deref() {
        None => container.checkpoints(None)?.pop().ok_or_else(|| {
            Failure::new(format!("container {} has no checkpoint", container.config.name))
                .hint("take one with stasis checkpoint create --leave-running")
        })?,
        Some(word) => match container.find_checkpoint(word, None) {
            Ok(stored) => stored,
            Err(none) => store.checkpoints().find(word).map_err(|_| none)?,
        },
    };
    Ok((container, stored))
}
