//! `system`: what lies on the disk, and whether it is right.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stasis_container::{
    Checkpoint, Container, Removal, Store, Stored, VolumesOf,
    retention::{Among, Policy},
    volume::Volume,
};
use stasis_network::Network;
use stasis_oci::Digest;

use super::{
    checkpoint::{Ids, Shelf, remove_superfluous},
    image::{self, Filters, Reach},
    network, reboot,
};
use crate::{
    args::{DfArgs, SystemCommand, SystemPruneArgs},
    confirm,
    failure::{Failure, Result},
    listing::{Listing, Look},
    size, time,
};

pub fn run(store: &Store, command: SystemCommand) -> Result<i32> {
    match command {
        SystemCommand::Df(args) if args.verbose => df_verbose(store),
        SystemCommand::Df(args) => df(store, &args),
        SystemCommand::Prune(args) => prune(store, &args),
        SystemCommand::Check => check(store),
        SystemCommand::Save(args) => reboot::save(store, &args),
        SystemCommand::Resume(args) => reboot::resume(store, &args),
    }
}

// df

const SUMMARY: Listing<'_> = Listing {
    titles: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    columns: &["Type", "TotalCount", "Active", "Size", "Reclaimable"],
    id: "Type",
};

/// One kind of things.
struct Kind {
    name: &'static str,
    total: usize,
    active: usize,
    size_bytes: u64,
    reclaimable_bytes: u64,
}

impl Kind {
    fn row(&self) -> Value {
        let percent = (self.reclaimable_bytes * 100).checked_div(self.size_bytes);
        let reclaimable = size::human(self.reclaimable_bytes);
        json!({
            "Type": self.name,
            "TotalCount": self.total.to_string(),
            "Active": self.active.to_string(),
            "Size": size::human(self.size_bytes),
            "Reclaimable": match percent {
                Some(percent) => format!("{reclaimable} ({percent}%)"),
                None => reclaimable,
            },
        })
    }
}

fn df(store: &Store, args: &DfArgs) -> Result<i32> {
    let kinds = [
        images(store)?,
        containers(store)?,
        volumes(store)?,
        checkpoints(store)?,
        build_cache(store)?,
    ];
    let rows: Vec<Value> = kinds.iter().map(Kind::row).collect();
    SUMMARY.print(&rows, Look::of(false, args.format.as_deref()))?;
    Ok(0)
}

fn images(store: &Store) -> Result<Kind> {
    let used: BTreeSet<Digest> = store.users_of_images()?.into_keys().collect();
    let all = store.images().list()?;
    let usage = store.images().usage(&used)?;
    Ok(Kind {
        name: "Images",
        total: all.len(),
        active: all.iter().filter(|image| used.contains(&image.id)).count(),
        size_bytes: usage.size_bytes,
        reclaimable_bytes: usage.reclaimable_bytes,
    })
}

fn containers(store: &Store) -> Result<Kind> {
    let all = store.list()?;
    let (up, down): (Vec<&Container>, Vec<&Container>) =
        all.iter().partition(|container| is_up(container));
    let size = |containers: &[&Container]| containers.iter().map(|c| c.size_bytes()).sum::<u64>();
    let reclaimable_bytes = size(&down);
    Ok(Kind {
        name: "Containers",
        total: all.len(),
        active: up.len(),
        size_bytes: size(&up) + reclaimable_bytes,
        reclaimable_bytes,
    })
}

fn is_up(container: &Container) -> bool {
    container.state().is_ok_and(|state| state.status.is_up())
}

fn volumes(store: &Store) -> Result<Kind> {
    let volumes = store.volumes();
    let mut kind =
        Kind { name: "Local Volumes", total: 0, active: 0, size_bytes: 0, reclaimable_bytes: 0 };
    for volume in volumes.list()? {
        let size_bytes = volumes.size_bytes(&volume.name);
        let is_used = !volumes.users(&volume.name)?.is_empty();
        kind.total += 1;
        kind.active += usize::from(is_used);
        kind.size_bytes += size_bytes;
        kind.reclaimable_bytes += if is_used { 0 } else { size_bytes };
    }
    Ok(kind)
}

/// Those are active that `checkpoint prune` would leave.
fn checkpoints(store: &Store) -> Result<Kind> {
    let shelf = Shelf::read(store)?;
    let mut kind =
        Kind { name: "Checkpoints", total: 0, active: 0, size_bytes: 0, reclaimable_bytes: 0 };
    for stored in &shelf.all {
        let size_bytes = stored.checkpoint.size_bytes;
        let is_needed = shelf.has_container(stored) || !shelf.tags(stored).is_empty();
        kind.total += 1;
        kind.active += usize::from(is_needed);
        kind.size_bytes += size_bytes;
        kind.reclaimable_bytes += if is_needed { 0 } else { size_bytes };
    }
    Ok(kind)
}

fn build_cache(store: &Store) -> Result<Kind> {
    let size_bytes = store.images().usage_of_kept()?;
    let total = store.images().kept_layers()?.len();
    let name = "Build Cache";
    Ok(Kind { name, total, active: 0, size_bytes, reclaimable_bytes: size_bytes })
}

fn df_verbose(store: &Store) -> Result<i32> {
    let users = store.users_of_images()?;
    let rows: Vec<Value> = store
        .images()
        .list()?
        .iter()
        .map(|image| {
            let using = users.get(&image.id).map_or(0, Vec::len);
            json!({
                "Name": image.display_name(),
                "ID": image.short_id(),
                "Created": image.config.created.map(time::since).unwrap_or_default(),
                "Size": size::human(image.size_bytes),
                "Containers": using.to_string(),
            })
        })
        .collect();
    say!("Images space usage:\n");
    table(&rows, &["Name", "ID", "Created", "Size", "Containers"])?;
    let rows: Vec<Value> = store
        .list()?
        .iter()
        .map(|container| {
            json!({
                "ID": container.short_id(),
                "Name": container.config.name,
                "Changed": size::human(container.changed_bytes()),
                "Size": size::human(container.size_bytes()),
            })
        })
        .collect();
    say!("\nContainers space usage:\n");
    table(&rows, &["ID", "Name", "Changed", "Size"])?;
    let volumes = store.volumes();
    let row = |volume: Volume| -> Result<Value> {
        Ok(json!({
            "Name": volume.name,
            "Links": volumes.users(&volume.name)?.len().to_string(),
            "Size": size::human(volumes.size_bytes(&volume.name)),
        }))
    };
    let rows: Vec<Value> = volumes.list()?.into_iter().map(row).collect::<Result<_>>()?;
    say!("\nLocal Volumes space usage:\n");
    table(&rows, &["Name", "Links", "Size"])?;
    let shelf = Shelf::read(store)?;
    let rows: Vec<Value> = shelf.all.iter().map(|stored| shelf.row(stored, Ids::Short)).collect();
    say!("\nCheckpoints space usage:\n");
    table(&rows, &["ID", "Reference", "Size"])?;
    say!("\nBuild cache usage: {}", size::human(store.images().usage_of_kept()?));
    Ok(0)
}

fn table(rows: &[Value], columns: &[&str]) -> Result<()> {
    const TITLES: [(&str, &str); 9] = [
        ("Name", "NAME"),
        ("ID", "ID"),
        ("Created", "CREATED"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("Changed", "CHANGED"),
        ("Links", "LINKS"),
        ("Reference", "NAME"),
        ("Type", "TYPE"),
    ];
    Listing { titles: &TITLES, columns, id: "ID" }.print(rows, Look::Table)
}

// prune

fn prune(store: &Store, args: &SystemPruneArgs) -> Result<i32> {
    let filters = Filters::parse_prune(&args.filter)?;
    let reach = if args.all { Reach::Unused } else { Reach::Dangling };
    if args.volumes && !args.filter.is_empty() {
        return Err(Failure::new("--filter does not go with --volumes")
            .hint("use stasis volume prune --filter"));
    }
    if !args.force && !confirm::ask(&warning(args, reach))? {
        return Ok(0);
    }
    let mut reclaimed = prune_containers(store, &filters)?;
    let fits = |network: &Network| filters.match_labels(&network.labels, Some(network.created));
    say_deleted("Networks", &network::prune_unused(store, fits)?);
    if args.volumes {
        let (names, size_bytes) = store.volumes().prune(Volume::is_anonymous)?;
        say_deleted("Volumes", &names);
        reclaimed += size_bytes;
    }
    if args.checkpoints {
        let fits = |_: &Shelf, stored: &Stored| {
            let Checkpoint { container, created, .. } = &stored.checkpoint;
            filters.match_labels(&container.labels, Some(*created))
        };
        let policy = Policy { among: Among::Orphans, keep_last: None, max_bytes: None };
        let (names, size_bytes) = remove_superfluous(store, policy, &fits)?;
        say_deleted("Checkpoints", &names);
        reclaimed += size_bytes;
    }
    reclaimed += stasis_build::prune(store.home(), &store.images())?.size_bytes;
    let pruned = image::prune_images(store, reach, &filters)?;
    pruned.say();
    reclaimed += pruned.size_bytes;
    say!("Total reclaimed space: {}", size::human(reclaimed));
    Ok(0)
}

fn warning(args: &SystemPruneArgs, reach: Reach) -> String {
    let volumes =
        if args.volumes { "\n  - all anonymous volumes not used by a container" } else { "" };
    let checkpoints = match args.checkpoints {
        true => "\n  - all checkpoints without a tag whose container is gone then",
        false => "",
    };
    format!(
        "This will remove:\n  - all stopped containers\n  - all networks not used by at least one \
         container{volumes}{checkpoints}\n  - {}\n  - unused build cache\n",
        reach.words()
    )
}

fn prune_containers(store: &Store, filters: &Filters) -> Result<u64> {
    let mut reclaimed = 0;
    let mut ids = Vec::new();
    for container in store.list()? {
        let config = &container.config;
        if is_up(&container) || !filters.match_labels(&config.labels, Some(config.created)) {
            continue;
        }
        let size_bytes = container.size_bytes();
        // It may have been started meanwhile: then it stays.
        if container.remove(Removal::Refuse, VolumesOf::Keep).is_ok() {
            reclaimed += size_bytes;
            ids.push(container.config.id.clone());
        }
    }
    say_deleted("Containers", &ids);
    Ok(reclaimed)
}

fn say_deleted(kind: &str, names: &[String]) {
    if !names.is_empty() {
        say!("Deleted {kind}:\n{}\n", names.join("\n"));
    }
}

// check

fn check(store: &Store) -> Result<i32> {
    let mut faults: Vec<String> = store
        .images()
        .check()?
        .into_iter()
        .map(|fault| format!("{}: {}", fault.object, fault.reason))
        .collect();
    for (id, error) in store.damaged()? {
        faults.push(format!("container {}: {error}", &id[..12]));
    }
    for (id, error) in store.checkpoints().damaged()? {
        faults.push(format!("checkpoint {}: {error}", &id[..12]));
    }
    let ids: BTreeSet<Digest> = store.images().list()?.iter().map(|image| image.id).collect();
    for container in store.list()? {
        if let Some(image) = container.config.rootfs.image().filter(|image| !ids.contains(image)) {
            faults.push(format!("container {}: its image {image} is gone", container.config.name));
        }
    }
    if faults.is_empty() {
        say!("nothing is wrong");
        return Ok(0);
    }
    faults.iter().for_each(|fault| say!("{fault}"));
    let what = if faults.len() == 1 {
        "1 fault was".into()
    } else {
        format!("{} faults were", faults.len())
    };
    Err(Failure::new(format!("{what} found"))
        .hint("remove the images that are named and bring them in again"))
}
