//! `ps`: which containers there are and what they do.

use std::path::Path;

use serde_json::{Value, json};
use stasis_container::{
    Container, Error, State, Status, Store,
    config::{Config, Mount, MountKind, Network, Rootfs, RootfsAccess},
    health::HealthStatus,
};
use stasis_store::ImageStore;

use super::port;
use crate::{
    args::PsArgs,
    failure::{Failure, Result},
    format::Template,
    table, time,
};

const TITLES: [(&str, &str); 8] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
];

const DEFAULT_FIELDS: [&str; 7] =
    ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];

pub fn run(store: &Store, args: &PsArgs) -> Result<i32> {
    let filters: Vec<Filter> =
        args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_>>()?;
    let last = if args.latest { Some(1) } else { args.last };
    let asks_for_stopped =
        filters.iter().any(|f| matches!(f, Filter::Status(_) | Filter::Exited(_)));
    let shows_all = args.all || last.is_some() || asks_for_stopped;
    let images = store.images();
    let mut rows = Vec::new();
    for container in store.list()? {
        let state = match container.state() {
            // Removed while we looked.
            Err(Error::NoSuchContainer(_)) => continue,
            other => other?,
        };
        let matches = filters.iter().all(|filter| filter.matches(&container.config, &state));
        if matches && (shows_all || state.status.is_up()) {
            rows.push(row(&container, &state, &images, args.no_trunc));
        }
    }
    rows.truncate(last.unwrap_or(usize::MAX));
    print(&rows, args)?;
    Ok(0)
}

fn print(rows: &[Value], args: &PsArgs) -> Result<()> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    if args.quiet {
        rows.iter().for_each(|row| say!("{}", text(row, "ID")));
        return Ok(());
    }
    match args.format.as_deref() {
        None | Some("table") => {
            let title = |field| TITLES.iter().find(|(known, _)| known == field).map_or("", |t| t.1);
            let header: Vec<&str> = DEFAULT_FIELDS.iter().map(title).collect();
            let cells: Vec<Vec<String>> = rows
                .iter()
                .map(|row| DEFAULT_FIELDS.map(|field| text(row, field)).into())
                .collect();
            say!("{}", table::render(&header, &cells));
        }
        Some(format) => {
            let template = Template::parse(format)?;
            let rendered = template.render_all(rows, &TITLES)?;
            if !rendered.is_empty() {
                say!("{rendered}");
            }
        }
    }
    Ok(())
}

fn row(container: &Container, state: &State, images: &ImageStore, is_whole: bool) -> Value {
    let config = &container.config;
    let command = config.args.join(" ");
    let mounts: Vec<String> = config.mounts.iter().filter_map(mounted).collect();
    let nr_volumes = config.mounts.iter().filter(|mount| mount.volume().is_some()).count();
    let labels: Vec<String> = config.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    json!({
        "ID": if is_whole { &config.id } else { container.short_id() },
        "Image": image_now(config, images),
        "Command": format!("\"{}\"", if is_whole { command } else { shorten(&command) }),
        "CreatedAt": time::local(config.created),
        "RunningFor": format!("{} ago", time::since(config.created)),
        "Status": status(state),
        "State": state.status.word(),
        "Ports": port::column(config, state),
        "Names": config.name,
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "Networks": networks(&config.network).join(","),
        "LocalVolumes": nr_volumes.to_string(),
        "Size": "0B",
    })
}

/// Name of the volume, or the place on the host.
fn mounted(mount: &Mount) -> Option<String> {
    match &mount.kind {
        MountKind::Volume(source) => Some(source.name.clone()),
        MountKind::Bind { source } => Some(source.display().to_string()),
        MountKind::Tmpfs => None,
    }
}

/// As the user wrote it, unless that is another image's name by now.
fn image_now(config: &Config, images: &ImageStore) -> String {
    let typed = image(config);
    match config.rootfs.image() {
        Some(id) if images.find(&typed).is_ok_and(|found| found.id != *id) => id.short(),
        _ => typed,
    }
}

/// As the user wrote it.
pub fn image(config: &Config) -> String {
    match &config.rootfs {
        Rootfs::Image { name, .. } => name.clone(),
        Rootfs::Directory { dir, access: RootfsAccess::Overlay } => format!("{}:O", dir.display()),
        Rootfs::Directory { dir, access: RootfsAccess::Direct } => dir.display().to_string(),
    }
}

/// Names of the networks as they are given to `--network`.
pub fn networks(network: &Network) -> Vec<String> {
    match network {
        Network::Host => vec!["host".into()],
        Network::None => vec!["none".into()],
        Network::Container(id) => vec![format!("container:{id}")],
        Network::Named(connections) => {
            connections.iter().map(|connection| connection.network.clone()).collect()
        }
    }
}

fn shorten(command: &str) -> String {
    const MAX: usize = 20;
    if command.chars().count() <= MAX {
        return command.to_owned();
    }
    command.chars().take(MAX - 1).collect::<String>() + "…"
}

/// Docker's sentence.
fn status(state: &State) -> String {
    let up = || state.started.map(time::since).unwrap_or_default();
    let ended = || state.finished.map(|at| format!(" {} ago", time::since(at))).unwrap_or_default();
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => format!("Up {}{}", up(), health(state)),
        Status::Paused => format!("Up {} (Paused)", up()),
        Status::Restarting => format!("Restarting ({}){}", state.exit_code, ended()),
        Status::Exited => format!("Exited ({}){}", state.exit_code, ended()),
    }
}

/// Behind the time.
fn health(state: &State) -> String {
    match &state.health {
        None => String::new(),
        Some(health) if health.status == HealthStatus::Starting => " (health: starting)".into(),
        Some(health) => format!(" ({})", health.status.word()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Name(String),
    Id(String),
    Status(String),
    Label(String, Option<String>),
    Exited(i32),
    Network(String),
    Volume(String),
    Health(String),
}

impl Filter {
    fn parse(text: &str) -> Result<Filter> {
        let wrong = || {
            Failure::new(format!("{text:?} is not a filter"))
                .hint("use name=, id=, status=, label=, exited=, network=, volume= or health=")
        };
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        Ok(match key {
            "name" => Filter::Name(value.trim_start_matches('^').trim_start_matches('/').into()),
            "id" => Filter::Id(value.into()),
            "status" => Filter::Status(value.into()),
            "label" => match value.split_once('=') {
                Some((key, value)) => Filter::Label(key.into(), Some(value.into())),
                None => Filter::Label(value.into(), None),
            },
            "exited" => Filter::Exited(value.parse().map_err(|_| wrong())?),
            "network" => Filter::Network(value.into()),
            "volume" => Filter::Volume(value.into()),
            "health" => Filter::Health(value.into()),
            _ => return Err(wrong()),
        })
    }

    fn matches(&self, config: &Config, state: &State) -> bool {
        match self {
            Filter::Name(text) => match text.strip_suffix('$') {
                Some(whole) => config.name == whole,
                None => config.name.contains(text.as_str()),
            },
            Filter::Id(prefix) => config.id.starts_with(prefix.as_str()),
            Filter::Status(word) => state.status.word() == word,
            Filter::Label(key, value) => config
                .labels
                .get(key)
                .is_some_and(|have| value.as_ref().is_none_or(|wanted| wanted == have)),
            Filter::Exited(code) => state.status == Status::Exited && state.exit_code == *code,
            Filter::Network(name) => networks(&config.network).contains(name),
            Filter::Health(word) => match &state.health {
                Some(health) => health.status.word() == word,
                None => word == "none",
            },
            Filter::Volume(key) => config.mounts.iter().any(|mount| {
                mount.target == Path::new(key)
                    || mount.volume().is_some_and(|volume| volume.name == *key)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let label = Filter::Label("a".into(), Some("b".into()));
        assert_eq!(Filter::parse("label=a=b").unwrap(), label);
        assert_eq!(Filter::parse("exited=3").unwrap(), Filter::Exited(3));
        assert!(Filter::parse("exited=x").is_err());
        assert!(Filter::parse("colour=red").is_err());
    }

    #[test]
    fn long_commands_are_shortened() {
        assert_eq!(shorten("sleep 1"), "sleep 1");
        assert_eq!(shorten("/bin/sh -c 'i=0; while true'"), "/bin/sh -c 'i=0; wh…");
    }
}
