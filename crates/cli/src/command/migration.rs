//! `container checkpoint` and `container restore`: Podman's verbs, with one checkpoint per container
//! that lies under a name of its own, and archives.

mod figures;

use std::{io, path::Path, time::Instant};

use serde_json::Value;
use stasis_container::{
    Addresses, Checkpoint, Container, Error, Existing, Fate, LeftOut, Lies, Made, MemoryWritten,
    Remade, Remake, Removal, Restoring, Staged, Stays, Store, Stored, VolumesOf, Wanted, Wish,
    config::{Network, Rootfs},
};
use stasis_engine::{Keeping, Report};
use stasis_model::Obstacle;
use stasis_network::Connection;
use stasis_oci::Reference;

use super::{
    checkpoint::{unpack, unpack_fetching},
    process,
};
use crate::{
    args::migration::{ContainerCheckpointArgs, ContainerRestoreArgs},
    basis,
    failure::{Failure, Result},
    parse,
};

/// The checkpoint that these two verbs know.
const SLOT: &str = "checkpoint";

/// Freezes containers.
pub fn checkpoint(store: &Store, args: &ContainerCheckpointArgs) -> Result<i32> {
    let begun = Instant::now();
    let is_up = |container: &Container| container.state().is_ok_and(|state| state.status.is_up());
    let chosen = choose(store, &args.containers, (args.all, args.latest), is_up)?;
    if args.export.is_some() && chosen.len() > 1 {
        return Err(Failure::new("--export takes one container: an archive holds one"));
    }
    if args.create_image.is_some() && chosen.len() > 1 {
        return Err(Failure::new("--create-image takes one container: an image holds one"));
    }
    let image: Option<Reference> = args.create_image.as_deref().map(str::parse).transpose()?;
    let mut figures = Vec::new();
    let code = each(&chosen, |container, typed| {
        let since = Instant::now();
        let report = match args.pre_checkpoint {
            true => pre_checkpoint_one(store, container, args)?,
            false => checkpoint_one(store, container, image.as_ref(), args)?,
        };
        process::tell(&report, false);
        figures.push(figures::of_checkpoint(container, &report, since.elapsed()));
        if !args.print_stats && !is_stdout(args.export.as_deref()) {
            say!("{typed}");
        }
        Ok(())
    });
    if args.print_stats {
        figures::print("podman_checkpoint_duration", begun.elapsed(), &figures);
    }
    Ok(code)
}

fn checkpoint_one(
    store: &Store,
    container: &Container,
    image: Option<&Reference>,
    args: &ContainerCheckpointArgs,
) -> Result<Report> {
    let left_out = LeftOut { rootfs: args.ignore_rootfs, volumes: args.ignore_volumes };
    let fate = if args.leave_running { Fate::LeaveRunning } else { Fate::Stop };
    let memory = match args.with_previous {
        true => MemoryWritten::SinceThePreCheckpoint,
        false => MemoryWritten::All,
    };
    let existing = Existing::Replace;
    let wanted = Wanted { name: SLOT, dir: None, fate, left_out, existing, deadline: None, memory };
    let Made { stored, report } = container.checkpoint(&wanted)?;
    if let Some(name) = image {
        let made = store.checkpoints().make_image(&stored, name);
        made.map_err(|error| was_kept(error, container))?;
    }
    let Some(target) = &args.export else { return Ok(report) };
    export(store, &stored, args, target).map_err(|error| was_kept(error, container))?;
    if !args.keep {
        store.checkpoints().remove(&stored)?;
    }
    Ok(report)
}

fn was_kept(error: Error, container: &Container) -> Failure {
    let name = &container.config.name;
    Failure::from(error)
        .hint(format!("the checkpoint is whole and was kept: stasis container restore {name}"))
}

fn export(
    store: &Store,
    stored: &Stored,
    args: &ContainerCheckpointArgs,
    target: &Path,
) -> std::result::Result<(), Error> {
    let compression = args.compress.unwrap_or_default();
    match is_stdout(Some(target)) {
        true => store.checkpoints().export(stored, compression, &mut io::stdout()),
        false => store.checkpoints().export_to(stored, compression, target),
    }
}

fn pre_checkpoint_one(
    store: &Store,
    container: &Container,
    args: &ContainerCheckpointArgs,
) -> Result<Report> {
    let Some(target) = &args.export else {
        return Ok(container.pre_checkpoint(Lies::WithTheCheckpoint)?.report);
    };
    let Made { stored, report } = container.pre_checkpoint(Lies::InAnArchiveOfItsOwn)?;
    if let Err(error) = export(store, &stored, args, target) {
        // An archive that builds upon it would build upon nothing.
        container.drop_pre_checkpoint()?;
        return Err(error.into());
    }
    Ok(report)
}

/// Brings containers back.
pub fn restore(store: &Store, args: &ContainerRestoreArgs) -> Result<i32> {
    refuse_unmade(&[(args.pod.is_some(), "--pod")])?;
    let begun = Instant::now();
    let mut figures = Vec::new();
    let code = match &args.import {
        Some(archive) if args.host.dry_run => {
            let staged = unpack(store, archive, args.import_previous.as_deref())?;
            tell_fitness(store, &staged.stored, args)?
        }
        Some(archive) => {
            let previous = args.import_previous.as_deref();
            let fetch = |name: &str| fetch(store, name, args);
            let staged = unpack_fetching(store, archive, previous, &fetch)?;
            let container = remake(store, &staged.stored, args, &mut figures)?;
            if !args.print_stats {
                say!("{}", container.config.id);
            }
            if args.keep {
                store.checkpoints().keep(staged, None)?;
            }
            0
        }
        None => restore_stored(store, args, &mut figures)?,
    };
    if args.print_stats {
        figures::print("podman_restore_duration", begun.elapsed(), &figures);
    }
    Ok(code)
}

/// The image that a checkpoint of Podman's stands on.
fn fetch(
    store: &Store,
    name: &str,
    args: &ContainerRestoreArgs,
) -> std::result::Result<(), String> {
    basis::fetch(store, name, &args.pulling)
        .map_err(|failure| failure.cause.unwrap_or(failure.message))
}

/// What the user means by a word: a checkpoint, or a container with the one that Podman's verbs know.
struct Meant {
    stored: Stored,
    container: Option<Container>,
    /// That of an image, which goes when it was used.
    staged: Option<Staged>,
}

fn restore_stored(
    store: &Store,
    args: &ContainerRestoreArgs,
    figures: &mut Vec<Value>,
) -> Result<i32> {
    if args.name.is_some() && args.containers.len() != 1 {
        return Err(Failure::new("--name takes one checkpoint: there is one container of a name"));
    }
    let words = match (args.all, args.latest) {
        (false, false) => args.containers.clone(),
        which => frozen_ones(store, which)?,
    };
    let mut code = 0;
    for word in &words {
        let restored = meant(store, word, args).and_then(|meant| match args.host.dry_run {
            true => tell_fitness(store, &meant.stored, args).map(Done::Told),
            false => restore_meant(store, meant, args, figures),
        });
        match restored {
            Ok(Done::Told(unfit)) => code = code.max(unfit),
            Ok(Done::Made(container)) if !args.print_stats => say!("{}", container.config.id),
            Ok(Done::InPlace) if !args.print_stats => say!("{word}"),
            Ok(Done::Made(_) | Done::InPlace) => {}
            Err(failure) => {
                eprintln!("{failure}");
                code = failure.code;
            }
        }
    }
    Ok(code)
}

/// Ids of containers for `--all` and `--latest`.
fn frozen_ones(store: &Store, which: (bool, bool)) -> Result<Vec<String>> {
    let has_slot = |container: &Container| {
        let is_up = container.state().is_ok_and(|state| state.status.is_up());
        !is_up && container.find_checkpoint(SLOT, None).is_ok()
    };
    Ok(choose(store, &[], which, has_slot)?.into_iter().map(|(_, id)| id).collect())
}

fn meant(store: &Store, word: &str, args: &ContainerRestoreArgs) -> Result<Meant> {
    match store.find(word) {
        Ok(container) => {
            let stored = container.find_checkpoint(SLOT, None)?;
            Ok(Meant { stored, container: Some(container), staged: None })
        }
        Err(no_container) => match store.checkpoints().find(word) {
            Ok(stored) => Ok(Meant { stored, container: None, staged: None }),
            Err(error @ Error::NoSuchCheckpoint(_)) => {
                let error = if word.contains('/') { error } else { no_container };
                let image = store.images().find(word).map_err(|_| error)?;
                let checkpoints = store.checkpoints();
                let staged = checkpoints.unpack_image(&image, &|name| fetch(store, name, args))?;
                Ok(Meant { stored: staged.stored.clone(), container: None, staged: Some(staged) })
            }
            Err(error) => Err(error.into()),
        },
    }
}

/// What was done with a checkpoint.
enum Done {
    /// Whether it could be restored; an exit code.
    Told(i32),
    InPlace,
    Made(Box<Container>),
}

fn restore_meant(
    store: &Store,
    meant: Meant,
    args: &ContainerRestoreArgs,
    figures: &mut Vec<Value>,
) -> Result<Done> {
    let Meant { stored, container, staged } = meant;
    if let (Some(container), None) = (container, &args.name) {
        restore_in_place(&container, &stored, args, figures)?;
        if !args.keep {
            use_up(store, &stored)?;
        }
        return Ok(Done::InPlace);
    }
    let done = match store.find(&stored.checkpoint.container.id) {
        Ok(container) if args.name.is_none() => {
            restore_in_place(&container, &stored, args, figures)?;
            Ok(Done::InPlace)
        }
        _ => Ok(Done::Made(Box::new(remake(store, &stored, args, figures)?))),
    };
    if let (Ok(_), Some(staged), true) = (&done, staged, args.keep) {
        store.checkpoints().keep(staged, None)?;
    }
    done
}

/// As Podman does; but whoever gave it a tag wants it to stay.
fn use_up(store: &Store, stored: &Stored) -> Result<()> {
    let checkpoints = store.checkpoints();
    if !checkpoints.tags()?.values().any(|id| *id == stored.checkpoint.id) {
        checkpoints.remove(stored)?;
    }
    Ok(())
}

fn restore_in_place(
    container: &Container,
    stored: &Stored,
    args: &ContainerRestoreArgs,
    figures: &mut Vec<Value>,
) -> Result<()> {
    let of_new = [
        (args.ignore_static_ip, "--ignore-static-ip"),
        (args.ignore_static_mac, "--ignore-static-mac"),
        (args.network.is_some(), "--network"),
        (!args.publish.is_empty(), "--publish"),
    ];
    if let Some((_, option)) = of_new.iter().find(|(is_given, _)| *is_given) {
        let name = &container.config.name;
        return Err(Failure::new(format!(
            "{option} cannot change container {name}, which is there"
        ))
        .hint("make a new one of the checkpoint with --name"));
    }
    restore_one(container, stored, args, figures)
}

/// Makes a container of a checkpoint and restores it.
fn remake(
    store: &Store,
    stored: &Stored,
    args: &ContainerRestoreArgs,
    figures: &mut Vec<Value>,
) -> Result<Container> {
    let publish = parse::publish(&args.publish)?;
    let network = args.network.as_deref().map(network).transpose()?;
    let is_fresh = args.ignore_static_ip || args.ignore_static_mac;
    let remake = Remake {
        name: args.name.as_deref(),
        hostname: None,
        left_out: left_out(args),
        addresses: if is_fresh { Addresses::Fresh } else { Addresses::Same },
        publish: (!publish.is_empty()).then_some(publish.as_slice()),
        network: network.as_ref(),
        stays: Stays::AtOnce,
        ..Remake::default()
    };
    if let Rootfs::Image { image, name } = &stored.checkpoint.container.rootfs {
        basis::provide_known(store, image, name, &args.pulling)?;
    }
    let obstacles = obstacles(store, stored, args)?;
    if !obstacles.is_empty() {
        return Err(stasis_engine::Error::NotHere(obstacles).into());
    }
    let Remade { container, stored } = store.remake(stored, &remake)?;
    match restore_one(&container, &stored, args, figures) {
        Ok(()) => Ok(container),
        Err(failure) => {
            // What could not be brought back was never there.
            container.remove(Removal::Kill, VolumesOf::Remove)?;
            Err(failure)
        }
    }
}

/// What keeps it from being restored as it is wanted.
fn obstacles(store: &Store, stored: &Stored, args: &ContainerRestoreArgs) -> Result<Vec<Obstacle>> {
    let mut wanted = stored.clone();
    if let Some(name) = &args.network {
        wanted.checkpoint.container.network = network(name)?;
    }
    Ok(store.obstacles_here(&wanted, args.host.cpu_cap)?)
}

fn tell_fitness(store: &Store, stored: &Stored, args: &ContainerRestoreArgs) -> Result<i32> {
    let what = format!("container {}", stored.checkpoint.container.name);
    Ok(process::tell_fitness(&what, &obstacles(store, stored, args)?))
}

fn network(name: &str) -> Result<Network> {
    match name {
        "none" => Ok(Network::None),
        "host" => Err(Failure::new("a frozen network namespace cannot become the host's")),
        name => Ok(Network::Named(vec![Connection::to(name)])),
    }
}

fn left_out(args: &ContainerRestoreArgs) -> LeftOut {
    LeftOut { rootfs: args.ignore_rootfs, volumes: args.ignore_volumes }
}

/// The connections belong to the container that had them.
fn keeping(args: &ContainerRestoreArgs) -> Keeping {
    match (args.tcp_established, args.tcp_close, args.name.is_some()) {
        (true, ..) => Keeping::Everything,
        (false, true, _) => Keeping::Nothing,
        (false, false, true) => Keeping::Inner,
        (false, false, false) => Keeping::Possible,
    }
}

fn restore_one(
    container: &Container,
    stored: &Stored,
    args: &ContainerRestoreArgs,
    figures: &mut Vec<Value>,
) -> Result<()> {
    let since = Instant::now();
    let (cpu, keeping) = (args.host.cpu_cap, keeping(args));
    let wish = Wish { left_out: left_out(args), cpu, keeping, ..Wish::default() };
    let restored = container.begin_restore(stored, wish).and_then(Restoring::finish);
    let report = restored.map_err(|error| taken(error, stored, args))?;
    process::tell(&report, false);
    figures.push(figures::of_restore(container, &report, since.elapsed()));
    Ok(())
}

/// What to do about an address or a port that somebody else has. The monitor tells of it in words.
fn taken(error: Error, stored: &Stored, args: &ContainerRestoreArgs) -> Failure {
    let is_taken = error.to_string().contains("is already in use by");
    let failure = Failure::from(error);
    let Checkpoint { container, name, .. } = &stored.checkpoint;
    match (is_taken, &args.name, &args.import) {
        (false, _, _) => failure,
        (true, Some(_), _) => failure.hint("choose other ports with --publish"),
        (true, None, Some(_)) => failure.hint(
            "stop who has it, or use --ignore-static-ip, --publish, or --name for a new container",
        ),
        (true, None, None) => failure.hint(format!(
            "stop who has it, or make a new container: stasis container restore {}/{name} --name NEW, \
             with --publish for other ports",
            container.name
        )),
    }
}

/// Options of Podman's that are not there yet are not passed over in silence.
fn refuse_unmade(options: &[(bool, &str)]) -> Result<()> {
    match options.iter().find(|(is_given, _)| *is_given) {
        Some((_, name)) => Err(Failure::new(format!("{name} is not supported yet"))),
        None => Ok(()),
    }
}

/// The containers that are meant, with the words by which the user named them.
fn choose(
    store: &Store,
    keys: &[String],
    (all, latest): (bool, bool),
    is_fit: impl Fn(&Container) -> bool,
) -> Result<Vec<(Container, String)>> {
    let by_id = |container: Container| {
        let id = container.config.id.clone();
        (container, id)
    };
    if all {
        return Ok(store.list()?.into_iter().filter(is_fit).map(by_id).collect());
    }
    if latest {
        let newest = store.list()?.into_iter().next();
        let newest = newest.ok_or_else(|| Failure::new("there are no containers"))?;
        return Ok(vec![by_id(newest)]);
    }
    keys.iter().map(|key| Ok((store.find(key)?, key.clone()))).collect()
}

/// One that fails does not keep the others from their turn.
fn each(
    chosen: &[(Container, String)],
    mut act: impl FnMut(&Container, &str) -> Result<()>,
) -> i32 {
    let mut code = 0;
    for (container, typed) in chosen {
        if let Err(failure) = act(container, typed) {
            eprintln!("{failure}");
            code = failure.code;
        }
    }
    code
}

fn is_stdout(path: Option<&Path>) -> bool {
    path == Some(Path::new("-"))
}
