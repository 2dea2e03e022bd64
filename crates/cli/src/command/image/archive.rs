//! `save`, `load` and `import`.

use std::{
    fs::File,
    io::{IsTerminal, Read, Write},
    path::Path,
};

use jiff::Timestamp;
use stasis_container::Store;
use stasis_oci::{Platform, Reference, Repository, RunConfig};
use stasis_store::{Format, Image, ImageStore, Import, Saving};

use super::unpacking::Unpacking;
use crate::{
    args::{ImportArgs, LoadArgs, SaveArgs, SaveFormat},
    changes::Changes,
    failure::{Failure, Result},
};

/// Stands for standard input or output.
const STREAM: &str = "-";

pub fn save(store: &Store, args: &SaveArgs) -> Result<i32> {
    let images = store.images();
    let _hold = images.hold()?;
    let mut saving = Vec::new();
    for key in &args.images {
        add_wanted(&mut saving, &images, key)?;
    }
    let output = args.output.as_deref().filter(|path| *path != Path::new(STREAM));
    match (output, args.format) {
        (Some(dir), SaveFormat::OciDir) => images.save_dir(&saving, Format::Oci, dir)?,
        (None, SaveFormat::OciDir) => {
            return Err(Failure::new("a directory cannot be written to standard output")
                .hint("say where it shall be: -o DIR"));
        }
        (Some(path), format) => to_file(&images, &saving, tar_format(format), path)?,
        (None, format) => {
            let mut out = std::io::stdout().lock();
            if out.is_terminal() {
                return Err(Failure::new("an archive is not written to a terminal")
                    .hint("use -o FILE, or send the output to a file"));
            }
            images.save(&saving, tar_format(format), &mut out)?;
        }
    }
    Ok(0)
}

fn tar_format(format: SaveFormat) -> Format {
    if format == SaveFormat::DockerArchive { Format::Docker } else { Format::Oci }
}

/// A name without tag means all of the repository.
fn add_wanted(saving: &mut Vec<Saving>, images: &ImageStore, key: &str) -> Result<()> {
    if let Ok(repository) = key.parse::<Repository>() {
        let mut found = false;
        for image in images.list()? {
            let of_repository = |name: &&Reference| *name.repository() == repository;
            let names: Vec<Reference> = image.tags().filter(of_repository).cloned().collect();
            if !names.is_empty() {
                found = true;
                add_one(saving, image, &names);
            }
        }
        if found {
            return Ok(());
        }
    }
    let image = images.find(key)?;
    let names: Vec<Reference> =
        key.parse().ok().filter(|name| image.names.contains(name)).into_iter().collect();
    add_one(saving, image, &names);
    Ok(())
}

fn add_one(saving: &mut Vec<Saving>, image: Image, names: &[Reference]) {
    match saving.iter_mut().find(|known| known.image.manifest_digest == image.manifest_digest) {
        Some(known) => {
            known.names.extend_from_slice(names);
            known.names.sort();
            known.names.dedup();
        }
        None => saving.push(Saving { image, names: names.to_vec() }),
    }
}

/// Written beside and renamed, but for what is no file, such as `/dev/stdout`.
fn to_file(images: &ImageStore, saving: &[Saving], format: Format, path: &Path) -> Result<()> {
    let cannot = |error: std::io::Error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot write {}", path.display()))
    };
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        let mut out = File::options().write(true).open(path).map_err(cannot)?;
        return Ok(images.save(saving, format, &mut out)?);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside =
        tempfile::Builder::new().prefix(".stasis-").tempfile_in(dir).map_err(cannot)?;
    images.save(saving, format, &mut beside)?;
    beside.as_file().sync_all().map_err(cannot)?;
    beside.persist(path).map_err(|error| cannot(error.error))?;
    Ok(())
}

pub fn load(store: &Store, args: &LoadArgs) -> Result<i32> {
    let images = store.images();
    let mut progress = Unpacking::new(args.quiet);
    let loaded = match args.input.as_deref().filter(|path| *path != Path::new(STREAM)) {
        Some(path) if path.is_dir() => images.load_dir(path, &mut progress)?,
        Some(path) => images.load(&mut open(path)?, &mut progress)?,
        None => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                return Err(Failure::new("an archive is not read from a terminal")
                    .hint("use -i FILE, or send a file to the input"));
            }
            images.load(&mut std::io::stdin(), &mut progress)?
        }
    };
    for (image, names) in loaded {
        if names.is_empty() {
            say!("Loaded image ID: {}", image.id);
        }
        names.iter().for_each(|name| say!("Loaded image: {}", name.familiar()));
    }
    Ok(0)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot open {}", path.display()))
    })
}

pub fn import(store: &Store, args: &ImportArgs) -> Result<i32> {
    let mut config = RunConfig::default();
    Changes::parse(&args.change, &config.env)?.apply(&mut config);
    let import = Import {
        names: args.name.iter().map(|name| Ok(name.parse()?)).collect::<Result<_>>()?,
        platform: args.platform.as_deref().map_or_else(|| Ok(Platform::host()), str::parse)?,
        config,
        message: message(args),
        created: Timestamp::now(),
    };
    if args.source.to_str().is_some_and(|text| text.starts_with("http")) && !args.source.exists() {
        return Err(Failure::new("import does not read from the network")
            .hint("let another tool do it: curl URL | stasis import -"));
    }
    let mut source: Box<dyn Read + Send> = match args.source.as_os_str() {
        dash if dash == STREAM => Box::new(std::io::stdin()),
        _ => Box::new(open(&args.source)?),
    };
    let image = store.images().import(&mut source, import, &mut Unpacking::new(false))?;
    say!("{}", image.id);
    std::io::stdout().flush()?;
    Ok(0)
}

fn message(args: &ImportArgs) -> String {
    if args.message.is_empty() {
        return format!("Imported from {}", args.source.display());
    }
    args.message.clone()
}
