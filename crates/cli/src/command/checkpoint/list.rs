//! `checkpoint ls`.

use serde_json::Value;
use stasis_container::{Store, Stored};

use super::{
    filter::Filters,
    shelf::{Ids, Shelf},
    tree,
};
use crate::{
    args::CheckpointLsArgs,
    failure::Result,
    listing::{Listing, Look},
};

const TITLES: [(&str, &str); 10] = [
    ("ID", "CHECKPOINT ID"),
    ("Name", "CHECKPOINT NAME"),
    ("Container", "CONTAINER"),
    ("ContainerID", "CONTAINER ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("SizeBytes", "SIZE"),
    ("Parent", "PARENT"),
    ("Tags", "TAGS"),
];

/// Those of one container, as Docker lists them.
const OF_CONTAINER: Listing<'_> = Listing {
    titles: &TITLES,
    columns: &["Name", "ID", "CreatedSince", "Size", "Parent", "Tags"],
    id: "Name",
};

const OF_ALL: Listing<'_> = Listing {
    titles: &TITLES,
    columns: &["ID", "Container", "Name", "CreatedSince", "Size", "Parent", "Tags"],
    id: "ID",
};

pub fn run(store: &Store, args: &CheckpointLsArgs) -> Result<i32> {
    let shelf = Shelf::read(store)?;
    let filters = Filters::parse(&args.filter)?;
    let mut chosen: Vec<Stored> = match &args.container {
        None => shelf.all.clone(),
        Some(key) => store.find(key)?.checkpoints(args.checkpoint_dir.as_deref())?,
    };
    chosen.retain(|stored| filters.matches(&shelf, stored));
    if args.tree {
        tree::draw(&shelf, &chosen).iter().for_each(|line| say!("{line}"));
        return Ok(0);
    }
    let ids = if args.no_trunc { Ids::Whole } else { Ids::Short };
    let rows: Vec<Value> = chosen.iter().map(|stored| shelf.row(stored, ids)).collect();
    let listing = if args.container.is_some() { OF_CONTAINER } else { OF_ALL };
    listing.print(&rows, Look::of(args.quiet, args.format.as_deref()))?;
    Ok(0)
}
