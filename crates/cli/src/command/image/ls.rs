//! `images`: which images there are.

use jiff::Timestamp;
use serde_json::{Value, json};
use stasis_container::Store;
use stasis_oci::Reference;
use stasis_store::Image;

use super::filter::Filters;
use crate::{
    args::ImageLsArgs,
    failure::Result,
    listing::{Listing, Look},
    size, time,
};

const NONE: &str = "<none>";

const TITLES: [(&str, &str); 11] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const COLUMNS: [&str; 5] = ["Repository", "Tag", "ID", "CreatedSince", "Size"];
const COLUMNS_WITH_DIGESTS: [&str; 6] =
    ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"];

pub fn run(store: &Store, args: &ImageLsArgs) -> Result<i32> {
    let filters = Filters::parse(&args.filter, args.name.as_deref(), &store.images())?;
    let mut rows = Vec::new();
    for image in store.images().list()? {
        if filters.match_image(&image) {
            rows.extend(rows_of(&image, &filters, args));
        }
    }
    if args.quiet {
        rows.dedup_by(|a, b| a["ID"] == b["ID"]);
    }
    let columns = if args.digests { &COLUMNS_WITH_DIGESTS[..] } else { &COLUMNS[..] };
    let listing = Listing { titles: &TITLES, columns, id: "ID" };
    listing.print(&rows, Look::of(args.quiet, args.format.as_deref()))?;
    Ok(0)
}

/// One for each name; names by digest are shown if there is no tag for their repository.
fn rows_of(image: &Image, filters: &Filters, args: &ImageLsArgs) -> Vec<Value> {
    let shown: Vec<&Reference> = image
        .names
        .iter()
        .filter(|name| filters.match_name(name))
        .filter(|name| name.tag().is_some() || !has_tag_in_repository(image, name))
        .collect();
    let row = |name: Option<&Reference>| row(image, name, args);
    match shown.as_slice() {
        [] if image.names.is_empty() => vec![row(None)],
        names => names.iter().map(|name| row(Some(name))).collect(),
    }
}

fn has_tag_in_repository(image: &Image, name: &Reference) -> bool {
    image.tags().any(|tagged| tagged.repository() == name.repository())
}

fn row(image: &Image, name: Option<&Reference>, args: &ImageLsArgs) -> Value {
    let none = || NONE.to_owned();
    let repository = name.map(Reference::repository);
    let digest = repository.and_then(|repository| {
        let own = |by_digest: &&Reference| by_digest.repository() == repository;
        image.repo_digests().find(own).and_then(Reference::digest)
    });
    json!({
        "Repository": repository.map_or_else(none, |repository| repository.familiar()),
        "Tag": name.and_then(Reference::tag).map_or_else(none, ToString::to_string),
        "Digest": digest.map_or_else(none, ToString::to_string),
        "ID": if args.no_trunc { image.id.to_string() } else { image.short_id() },
        "CreatedSince": ago(image.config.created),
        "CreatedAt": image.config.created.map_or_else(|| "N/A".into(), time::local),
        "Size": size::short(image.size_bytes),
        "VirtualSize": size::short(image.size_bytes),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    })
}

/// `3 days ago`.
pub fn ago(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "N/A".into(), |time| format!("{} ago", time::since(time)))
}
