//! `checkpoint inspect`.

use serde_json::{Value, json};
use stasis_container::{Store, Stored, config::Rootfs};
use stasis_model::{Process, State};

use super::shelf::Shelf;
use crate::{args::CheckpointInspectArgs, command::objects, failure::Result};

pub fn run(store: &Store, args: &CheckpointInspectArgs) -> Result<i32> {
    let shelf = Shelf::read(store)?;
    objects::print(&args.checkpoints, args.format.as_deref(), |reference| {
        describe(&shelf, &store.checkpoints().find(reference)?)
    })
}

fn describe(shelf: &Shelf, stored: &Stored) -> Result<Value> {
    let checkpoint = &stored.checkpoint;
    let tree = stored.tree();
    let sizes = stored.sizes()?;
    let (image, image_name) = match &checkpoint.container.rootfs {
        Rootfs::Image { image, name } => (image.to_string(), name.clone()),
        Rootfs::Directory { dir, .. } => (String::new(), dir.display().to_string()),
    };
    let children = shelf.children(stored).map(|child| &child.checkpoint.id);
    Ok(json!({
        "Id": checkpoint.id,
        "Name": checkpoint.name,
        "Tags": shelf.tags(stored),
        "Created": checkpoint.created,
        "Container": {
            "Id": checkpoint.container.id,
            "Name": shelf.container(stored),
            "Exists": shelf.has_container(stored),
        },
        "Parent": checkpoint.parent.as_ref().map(|parent| json!({
            "Id": parent.id,
            "Name": parent.name,
            "Exists": shelf.parent(stored).is_some(),
        })),
        "Children": children.collect::<Vec<_>>(),
        "Image": image,
        "ImageName": image_name,
        "Host": checkpoint.host.as_ref().map(|host| json!({
            "Kernel": host.kernel,
            "Architecture": host.architecture,
            "PageSize": host.page_bytes,
            "CgroupVersion": host.cgroups.word(),
        })),
        "Size": checkpoint.size_bytes,
        "Sizes": {
            "Memory": sizes.memory_bytes,
            "RootFs": sizes.rootfs_bytes,
            "Volumes": sizes.volumes_bytes,
            "Tmpfs": sizes.tmpfs_bytes,
            "Other": sizes.other_bytes,
        },
        "MadeBy": checkpoint.made_by,
        "Losses": checkpoint.losses,
        "Volumes": checkpoint.volumes,
        "Tmpfs": checkpoint.tmpfs,
        "Networks": checkpoint.endpoints,
        "Processes": tree.as_ref().map(|tree| {
            tree.processes.iter().map(describe_process).collect::<Vec<_>>()
        }).unwrap_or_default(),
        // One that cannot be decoded is shown all the same.
        "Error": tree.err().map(|error| error.to_string()),
        "Path": stored.dir,
        "Config": checkpoint.container,
    }))
}

fn describe_process(process: &Process) -> Value {
    let (state, threads) = match &process.state {
        State::Live { live, stopped_by: None } => ("running", live.threads.len()),
        State::Live { live, stopped_by: Some(_) } => ("stopped", live.threads.len()),
        State::Zombie { .. } => ("zombie", 0),
    };
    json!({
        "Pid": process.pid.0,
        "ParentPid": process.parent.map_or(0, |parent| parent.0),
        "Name": String::from_utf8_lossy(&process.name),
        "State": state,
        "Threads": threads,
    })
}
