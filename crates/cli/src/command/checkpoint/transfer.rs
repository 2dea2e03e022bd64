//! `checkpoint export` and `checkpoint import`.

use std::{
    fs::File,
    io::{self, IsTerminal},
    path::Path,
};

use stasis_container::{Fetch, Staged, Store};

use crate::{
    args::{CheckpointExportArgs, CheckpointImportArgs},
    failure::{Failure, Result},
};

pub fn export(store: &Store, args: &CheckpointExportArgs) -> Result<i32> {
    let checkpoints = store.checkpoints();
    let stored = checkpoints.find(&args.checkpoint)?;
    let compression = args.compress.unwrap_or_default();
    if args.output != Path::new("-") {
        checkpoints.export_to(&stored, compression, &args.output)?;
        return Ok(0);
    }
    if io::stdout().is_terminal() {
        return Err(Failure::new("an archive is not written to a terminal")
            .hint("use -o FILE, or send it to another program"));
    }
    checkpoints.export(&stored, compression, &mut io::stdout())?;
    Ok(0)
}

pub fn import(store: &Store, args: &CheckpointImportArgs) -> Result<i32> {
    let staged = unpack(store, &args.archive, None)?;
    let stored = store.checkpoints().keep(staged, args.name.as_deref())?;
    say!("{}", stored.checkpoint.id);
    Ok(0)
}

/// The checkpoint in an archive, and that of the pre-checkpoint it builds upon; - is standard input.
pub fn unpack(store: &Store, archive: &Path, previous: Option<&Path>) -> Result<Staged> {
    unpack_fetching(store, archive, previous, &|_| Ok(()))
}

/// As [`unpack`]; `fetch` brings the image that one of Podman's stands on.
pub fn unpack_fetching(
    store: &Store,
    archive: &Path,
    previous: Option<&Path>,
    fetch: Fetch<'_>,
) -> Result<Staged> {
    let checkpoints = store.checkpoints();
    let rounds = match previous {
        Some(previous) => vec![checkpoints.unpack_previous(open(previous)?)?],
        None => Vec::new(),
    };
    Ok(match archive == Path::new("-") {
        true => checkpoints.unpack_fetching(io::stdin(), &rounds, fetch)?,
        false => checkpoints.unpack_fetching(open(archive)?, &rounds, fetch)?,
    })
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot open {}", path.display()))
    })
}
