//! `image` and its verbs.

mod archive;
mod filter;
mod history;
mod inspect;
mod ls;
mod remove;
mod unpacking;

use stasis_container::{Home, Store};
use stasis_oci::Reference;

use super::{build, pull, push};
use crate::{
    args::{ImageCommand, ImagesCommand, TagArgs, TopImageCommand},
    failure::{Failure, Result},
};

pub use filter::Filters;
pub use inspect::describe;
pub use remove::{Reach, prune_images};

pub fn run_top(store: &Store, command: TopImageCommand) -> Result<i32> {
    match command {
        TopImageCommand::Verb(command) => verb(store, command),
        TopImageCommand::Images(args) => ls::run(store, &args),
        TopImageCommand::Rmi(args) => remove::run(store, &args),
    }
}

pub fn run(home: &Home, store: &Store, command: ImagesCommand) -> Result<i32> {
    match command {
        ImagesCommand::Verb(command) => verb(store, command),
        ImagesCommand::Ls(args) => ls::run(store, &args),
        ImagesCommand::Rm(args) => remove::run(store, &args),
        ImagesCommand::Inspect(args) => inspect::run(store, &args),
        ImagesCommand::Prune(args) => remove::prune(store, &args),
        ImagesCommand::Pull(args) => pull::run(home, &args),
        ImagesCommand::Push(args) => push::run(home, &args),
    }
}

fn verb(store: &Store, command: ImageCommand) -> Result<i32> {
    match command {
        ImageCommand::Build(args) => build::build(store, &args),
        ImageCommand::Tag(args) => tag(store, &args),
        ImageCommand::History(args) => history::run(store, &args),
        ImageCommand::Save(args) => archive::save(store, &args),
        ImageCommand::Load(args) => archive::load(store, &args),
        ImageCommand::Import(args) => archive::import(store, &args),
    }
}

fn tag(store: &Store, args: &TagArgs) -> Result<i32> {
    let name: Reference = args.name.parse()?;
    if name.digest().is_some() {
        return Err(Failure::new(format!("{} has a digest", args.name))
            .hint("a digest is given by the content; write NAME[:TAG]"));
    }
    let images = store.images();
    images.tag(&images.find(&args.image)?, &name)?;
    Ok(0)
}
