//! commit, diff, cp, export, rename, update, prune.

use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use stasis_container::{
    ChangeKind, Commit, Container, Error, Links, Owners, Pausing, Removal, Store, Update, VolumesOf,
};
use stasis_oci::RunConfig;

use super::each;
use crate::{
    args::change::{
        CommitArgs, ContainerPruneArgs, CpArgs, DiffArgs, ExportArgs, RenameArgs, UpdateArgs,
    },
    changes::Changes,
    confirm,
    failure::{Failure, Result},
    parse, size, time,
};

const WRITE_BYTES: usize = 1 << 20;

pub fn commit(store: &Store, args: &CommitArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    let changes = Changes::parse(&args.change, &container.config.env)?;
    let image = container.commit(&Commit {
        name: args.name.as_deref().map(str::parse).transpose()?,
        author: args.author.clone(),
        comment: args.message.clone(),
        pausing: if args.pause { Pausing::Pause } else { Pausing::RunOn },
        change: &|config: &mut RunConfig| changes.apply(config),
    })?;
    say!("{}", image.id);
    Ok(0)
}

pub fn diff(store: &Store, args: &DiffArgs) -> Result<i32> {
    for change in store.find(&args.container)?.changes()? {
        let letter = match change.kind {
            ChangeKind::Changed => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        say!("{letter} {}", change.path.display());
    }
    Ok(0)
}

/// One side of `cp`.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    Inside { container: String, path: PathBuf },
    Host(PathBuf),
    Stream,
}

impl Side {
    /// A colon makes a container, unless the text is a path.
    fn parse(text: &str) -> Result<Side> {
        if text == "-" {
            return Ok(Side::Stream);
        }
        match text.split_once(':') {
            Some((name, path))
                if !name.is_empty() && !name.contains('/') && !name.starts_with('.') =>
            {
                if path.is_empty() {
                    return Err(Failure::new(format!("{text:?} names no path in the container"))
                        .hint("write CONTAINER:PATH"));
                }
                // Relative paths begin at the root.
                let path = format!("/{}", path.trim_start_matches('/'));
                Ok(Side::Inside { container: name.into(), path: path.into() })
            }
            _ => Ok(Side::Host(text.into())),
        }
    }
}

pub fn copy(store: &Store, args: &CpArgs) -> Result<i32> {
    let links = if args.follow_link { Links::Follow } else { Links::Keep };
    match (Side::parse(&args.source)?, Side::parse(&args.target)?) {
        (Side::Inside { container, path }, Side::Host(target)) => {
            let owners = if args.archive { Owners::AsStored } else { our_own() };
            store.find(&container)?.copy_out(&path, &target, links, owners)?;
        }
        (Side::Host(source), Side::Inside { container, path }) => {
            store.find(&container)?.copy_in(&source, &path, links, owners(args))?;
        }
        (Side::Inside { container, path }, Side::Stream) => {
            let container = store.find(&container)?;
            to_stdout(|out| container.archive(&path, links, out))?;
        }
        (Side::Stream, Side::Inside { container, path }) => {
            let mut input = std::io::stdin().lock();
            store.find(&container)?.unpack(&path, owners(args), &mut input)?;
        }
        (Side::Inside { .. }, Side::Inside { .. }) => {
            return Err(Failure::new("cp does not copy between containers")
                .hint("copy to the host first, or: stasis cp A:PATH - | stasis cp - B:PATH"));
        }
        _ => {
            return Err(Failure::new("one of source and target must be in a container")
                .hint("write CONTAINER:PATH"));
        }
    }
    Ok(0)
}

/// Files that are copied in belong to the container's root, unless they keep their owners.
fn owners(args: &CpArgs) -> Owners {
    if args.archive { Owners::AsStored } else { Owners::One(0, 0) }
}

fn our_own() -> Owners {
    Owners::One(rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

fn to_stdout(write: impl FnOnce(&mut dyn Write) -> stasis_container::Result<()>) -> Result<()> {
    let stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        return Err(Failure::new("a tar is not written to a terminal")
            .hint("send it to a file or to another program: … > FILE"));
    }
    let mut out = BufWriter::with_capacity(WRITE_BYTES, stdout);
    write(&mut out)?;
    Ok(out.flush()?)
}

pub fn export(store: &Store, args: &ExportArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    match &args.output {
        None => to_stdout(|out| container.export(out))?,
        Some(path) => export_to(&container, path)?,
    }
    Ok(0)
}

/// Half an archive is not left behind under the name of a whole one.
fn export_to(container: &Container, path: &Path) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_export(container, &beside);
    let written = written.and_then(|()| Ok(std::fs::rename(&beside, path)?));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn write_export(container: &Container, path: &Path) -> Result<()> {
    let wrong = |error: std::io::Error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot write {}", path.display()))
    };
    let mut out = BufWriter::with_capacity(WRITE_BYTES, File::create(path).map_err(wrong)?);
    container.export(&mut out)?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(wrong)
}

pub fn rename(store: &Store, args: &RenameArgs) -> Result<i32> {
    store.rename(&store.find(&args.container)?, &args.name)?;
    Ok(0)
}

pub fn update(store: &Store, args: &UpdateArgs) -> Result<i32> {
    let update = Update {
        memory_bytes: args.memory.as_deref().map(parse::memory).transpose()?,
        nano_cpus: args.cpus.as_deref().map(parse::nano_cpus).transpose()?,
        pids: args.pids_limit,
        restart: args.restart.as_deref().map(parse::restart_policy).transpose()?,
    };
    if update == Update::default() {
        return Err(Failure::new("nothing to update")
            .hint("give --memory, --cpus, --pids-limit or --restart"));
    }
    each(store, &args.containers, |container| Ok(container.change(&update)?))
}

/// Removes all containers that do not run.
pub fn prune(store: &Store, args: &ContainerPruneArgs) -> Result<i32> {
    let filters: Vec<PruneFilter> =
        args.filter.iter().map(|text| PruneFilter::parse(text)).collect::<Result<_>>()?;
    if !args.force && !confirm::ask("This will remove all stopped containers.")? {
        return Ok(0);
    }
    let (mut ids, mut len_bytes) = (Vec::new(), 0);
    for container in store.list()? {
        let is_idle = container.state().is_ok_and(|state| !state.status.is_up());
        if !is_idle || !filters.iter().all(|filter| filter.matches(&container)) {
            continue;
        }
        let size = container.size_bytes();
        match container.remove(Removal::Refuse, VolumesOf::Keep) {
            Ok(()) => {
                ids.push(container.config.id);
                len_bytes += size;
            }
            // Started or removed meanwhile.
            Err(Error::WrongState { .. } | Error::NoSuchContainer(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !ids.is_empty() {
        say!("Deleted Containers:\n{}\n", ids.join("\n"));
    }
    say!("Total reclaimed space: {}", size::human(len_bytes));
    Ok(0)
}

#[derive(Debug, PartialEq, Eq)]
enum PruneFilter {
    Until(Timestamp),
    Label(String, Option<String>),
    NoLabel(String, Option<String>),
}

impl PruneFilter {
    fn parse(text: &str) -> Result<PruneFilter> {
        let pair = |text: &str| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        };
        match text.split_once('=') {
            Some(("until", value)) => Ok(PruneFilter::Until(time::point(value)?)),
            Some(("label", value)) => {
                let (key, value) = pair(value);
                Ok(PruneFilter::Label(key, value))
            }
            Some(("label!", value)) => {
                let (key, value) = pair(value);
                Ok(PruneFilter::NoLabel(key, value))
            }
            _ => Err(Failure::new(format!("{text:?} is not a filter"))
                .hint("use until=, label= or label!=")),
        }
    }

    fn matches(&self, container: &Container) -> bool {
        let has = |key: &String, value: &Option<String>| {
            let have = container.config.labels.get(key);
            have.is_some_and(|have| value.as_ref().is_none_or(|wanted| wanted == have))
        };
        match self {
            PruneFilter::Until(time) => container.config.created < *time,
            PruneFilter::Label(key, value) => has(key, value),
            PruneFilter::NoLabel(key, value) => !has(key, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_containers_are_told_apart() {
        let inside = |container: &str, path: &str| Side::Inside {
            container: container.into(),
            path: path.into(),
        };
        assert_eq!(Side::parse("c:/a").unwrap(), inside("c", "/a"));
        assert_eq!(Side::parse("c:a/.").unwrap(), inside("c", "/a/."));
        assert_eq!(Side::parse("-").unwrap(), Side::Stream);
        for path in ["/a:b", "./a:b", "a", "dir/a:b", ":a"] {
            assert_eq!(Side::parse(path).unwrap(), Side::Host(path.into()), "{path}");
        }
        assert!(Side::parse("c:").is_err());
    }
}
