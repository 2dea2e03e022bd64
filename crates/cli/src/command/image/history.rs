//! `history`: how an image came about.

use serde_json::{Value, json};
use stasis_container::Store;
use stasis_oci::History;

use super::ls::ago;
use crate::{
    args::HistoryArgs,
    failure::Result,
    listing::{Listing, Look},
    size,
};

const MISSING: &str = "<missing>";
const MAX_COMMAND: usize = 45;

const LISTING: Listing<'_> = Listing {
    titles: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    columns: &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
    id: "ID",
};
/// With `--human=false`.
const EXACT: Listing<'_> =
    Listing { columns: &["ID", "CreatedAt", "CreatedBy", "Size", "Comment"], ..LISTING };

pub fn run(store: &Store, args: &HistoryArgs) -> Result<i32> {
    let images = store.images();
    let image = images.find(&args.image)?;
    let id = if args.no_trunc { image.id.to_string() } else { image.short_id() };
    let steps = sized(&image.config.history, &images.layer_sizes(&image));
    let mut rows: Vec<Value> =
        steps.iter().map(|(step, size_bytes)| row(step, *size_bytes, args)).collect();
    rows.reverse();
    if let Some(newest) = rows.first_mut() {
        newest["ID"] = json!(id);
    }
    let listing = if args.human { LISTING } else { EXACT };
    listing.print(&rows, Look::of(args.quiet, args.format.as_deref()))?;
    Ok(0)
}

/// Steps with the sizes of their layers. A history need not tell of all layers.
fn sized(history: &[History], sizes: &[u64]) -> Vec<(History, u64)> {
    let mut sizes = sizes.iter().copied();
    let mut steps: Vec<(History, u64)> = history
        .iter()
        .map(|step| {
            let size = if step.empty_layer { Some(0) } else { sizes.next() };
            (step.clone(), size.unwrap_or(0))
        })
        .collect();
    steps.extend(sizes.map(|size_bytes| (History::default(), size_bytes)));
    steps
}

fn row(step: &History, size_bytes: u64, args: &HistoryArgs) -> Value {
    // Each step is one line.
    let command = step.created_by.replace(['\n', '\t'], " ");
    json!({
        "ID": MISSING,
        "CreatedSince": ago(step.created),
        "CreatedAt": step.created.map_or_else(|| "N/A".into(), |time| time.to_string()),
        "CreatedBy": if args.no_trunc { command } else { shorten(&command) },
        "Size": if args.human { size::short(size_bytes) } else { size_bytes.to_string() },
        "Comment": step.comment,
    })
}

fn shorten(command: &str) -> String {
    if command.chars().count() <= MAX_COMMAND {
        return command.to_owned();
    }
    command.chars().take(MAX_COMMAND - 1).collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_to_steps_with_layers() {
        let step = |empty_layer| History { empty_layer, ..History::default() };
        let sizes: Vec<u64> = sized(&[step(false), step(true), step(false)], &[5, 7, 9])
            .into_iter()
            .map(|(_, size_bytes)| size_bytes)
            .collect();
        assert_eq!(sizes, [5, 0, 7, 9]);
    }
}
