//! `volume`: directories that outlive containers.

use serde_json::{Value, json};
use stasis_container::{
    Error,
    volume::{Volume, Volumes},
};

use super::objects;
use crate::{
    args::{
        VolumeCommand, VolumeCreateArgs, VolumeInspectArgs, VolumeLsArgs, VolumePruneArgs,
        VolumeRmArgs,
    },
    confirm,
    failure::{Failure, Result},
    format::Template,
    mounts, parse, size, table,
};

const TITLES: [(&str, &str); 5] = [
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Scope", "SCOPE"),
    ("Labels", "LABELS"),
];

pub fn run(volumes: &Volumes, command: VolumeCommand) -> Result<i32> {
    match command {
        VolumeCommand::Create(args) => create(volumes, &args),
        VolumeCommand::Ls(args) => list(volumes, &args),
        VolumeCommand::Inspect(args) => inspect(volumes, &args),
        VolumeCommand::Rm(args) => Ok(remove(volumes, &args)),
        VolumeCommand::Prune(args) => prune(volumes, &args),
    }
}

fn create(volumes: &Volumes, args: &VolumeCreateArgs) -> Result<i32> {
    if args.driver != "local" {
        return Err(mounts::unknown_driver(&args.driver));
    }
    let name = args.name.as_deref().unwrap_or_default();
    let volume = volumes.create(name, &parse::labels(&args.label), &parse::labels(&args.opt))?;
    say!("{}", volume.name);
    Ok(0)
}

fn list(volumes: &Volumes, args: &VolumeLsArgs) -> Result<i32> {
    let filters: Vec<Filter> =
        args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for volume in volumes.list()? {
        if matches_all(&filters, volumes, &volume)? {
            rows.push(row(volumes, &volume));
        }
    }
    print(&rows, args)
}

fn print(rows: &[Value], args: &VolumeLsArgs) -> Result<i32> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    if args.quiet {
        rows.iter().for_each(|row| say!("{}", text(row, "Name")));
        return Ok(0);
    }
    match args.format.as_deref() {
        None | Some("table") => {
            let cells: Vec<Vec<String>> =
                rows.iter().map(|row| vec![text(row, "Driver"), text(row, "Name")]).collect();
            say!("{}", table::render(&["DRIVER", "VOLUME NAME"], &cells));
        }
        Some(format) => {
            let rendered = Template::parse(format)?.render_all(rows, &TITLES)?;
            if !rendered.is_empty() {
                say!("{rendered}");
            }
        }
    }
    Ok(0)
}

fn row(volumes: &Volumes, volume: &Volume) -> Value {
    let labels: Vec<String> = volume.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    json!({
        "Driver": "local",
        "Name": volume.name,
        "Scope": "local",
        "Mountpoint": volumes.mountpoint(&volume.name),
        "Labels": labels.join(","),
    })
}

fn inspect(volumes: &Volumes, args: &VolumeInspectArgs) -> Result<i32> {
    objects::print(&args.volumes, args.format.as_deref(), |name| {
        Ok(describe(volumes, &volumes.find(name)?))
    })
}

fn describe(volumes: &Volumes, volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": volume.labels,
        "Mountpoint": volumes.mountpoint(&volume.name),
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    })
}

fn remove(volumes: &Volumes, args: &VolumeRmArgs) -> i32 {
    let mut code = 0;
    for name in &args.volumes {
        match volumes.remove(name) {
            Ok(()) => say!("{name}"),
            Err(Error::NoSuchVolume(_)) if args.force => say!("{name}"),
            Err(error) => {
                eprintln!("{}", Failure::from(error));
                code = 1;
            }
        }
    }
    code
}

fn prune(volumes: &Volumes, args: &VolumePruneArgs) -> Result<i32> {
    let filters: Vec<Filter> =
        args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_>>()?;
    if let Some(unfit) = filters.iter().find(|filter| !filter.fits_prune()) {
        return Err(Failure::new(format!("volume prune has no filter {unfit:?}"))
            .hint("use label=, label!= or all="));
    }
    let takes_named = args.all || filters.contains(&Filter::All);
    let kind = if takes_named { "all" } else { "anonymous" };
    let warning =
        format!("This will remove {kind} local volumes not used by at least one container.");
    if !args.force && !confirm::ask(&warning)? {
        return Ok(0);
    }
    let wanted = |volume: &Volume| {
        (takes_named || volume.is_anonymous())
            && filters.iter().all(|filter| filter.matches(volume))
    };
    let (names, len_bytes) = volumes.prune(wanted)?;
    if !names.is_empty() {
        say!("Deleted Volumes:\n{}\n", names.join("\n"));
    }
    say!("Total reclaimed space: {}", size::human(len_bytes));
    Ok(0)
}

#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Name(String),
    Label(String, Option<String>),
    NoLabel(String, Option<String>),
    Driver(String),
    /// No container has it; or one has.
    Dangling,
    Used,
    /// Also named ones, for `prune`.
    All,
}

impl Filter {
    fn parse(text: &str) -> Result<Filter> {
        let wrong = || {
            Failure::new(format!("{text:?} is not a filter"))
                .hint("use name=, label=, driver= or dangling=")
        };
        let label = |text: &str| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        };
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        Ok(match (key, value) {
            ("name", _) => Filter::Name(value.into()),
            ("label", _) => {
                let (key, value) = label(value);
                Filter::Label(key, value)
            }
            ("label!", _) => {
                let (key, value) = label(value);
                Filter::NoLabel(key, value)
            }
            ("driver", _) => Filter::Driver(value.into()),
            ("dangling", "true" | "1") => Filter::Dangling,
            ("dangling", "false" | "0") => Filter::Used,
            ("all", "true" | "1") => Filter::All,
            _ => return Err(wrong()),
        })
    }

    fn fits_prune(&self) -> bool {
        matches!(self, Filter::Label(..) | Filter::NoLabel(..) | Filter::All)
    }

    /// What a volume says of itself.
    fn matches(&self, volume: &Volume) -> bool {
        let has = |key: &String, value: &Option<String>| {
            let have = volume.labels.get(key);
            have.is_some_and(|have| value.as_ref().is_none_or(|wanted| wanted == have))
        };
        match self {
            Filter::Name(part) => volume.name.contains(part.as_str()),
            Filter::Label(key, value) => has(key, value),
            Filter::NoLabel(key, value) => !has(key, value),
            Filter::Driver(name) => name == "local",
            Filter::Dangling | Filter::Used | Filter::All => true,
        }
    }
}

fn matches_all(filters: &[Filter], volumes: &Volumes, volume: &Volume) -> Result<bool> {
    if !filters.iter().all(|filter| filter.matches(volume)) {
        return Ok(false);
    }
    let (wants_dangling, wants_used) =
        (filters.contains(&Filter::Dangling), filters.contains(&Filter::Used));
    if !wants_dangling && !wants_used {
        return Ok(true);
    }
    let is_used = !volumes.users(&volume.name)?.is_empty();
    Ok((!wants_dangling || !is_used) && (!wants_used || is_used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        assert_eq!(Filter::parse("label=a").unwrap(), Filter::Label("a".into(), None));
        let not = Filter::NoLabel("a".into(), Some("b=c".into()));
        assert_eq!(Filter::parse("label!=a=b=c").unwrap(), not);
        assert_eq!(Filter::parse("dangling=true").unwrap(), Filter::Dangling);
        for wrong in ["dangling", "dangling=maybe", "size=3"] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
    }
}
