//! What is mounted in a container: `-v`, `--mount`, `--tmpfs`, `--volumes-from`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use stasis_container::{
    Store,
    config::{Filling, Mount, MountKind, VolumeSource},
    volume,
};
use stasis_oci::RunConfig;

use crate::{
    args::CreateArgs,
    failure::{Failure, Result},
    parse,
};

/// All mounts that the options and the image ask for.
pub fn wanted(store: &Store, args: &CreateArgs, image: &RunConfig) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for mount in args.volume.iter().map(|text| volume(text)) {
        mounts.push(mount?);
    }
    for mount in args.mount.iter().map(|text| mount(text)) {
        mounts.push(mount?);
    }
    for mount in args.tmpfs.iter().map(|text| tmpfs(text)) {
        mounts.push(mount?);
    }
    refuse_same_targets(&mounts)?;
    // What the user typed for this container stands above what another one or the image has.
    for text in &args.volumes_from {
        add_missing(&mut mounts, volumes_from(store, text)?);
    }
    let of_image = image.volumes.keys().map(|path| named("", path, std::iter::empty()));
    add_missing(&mut mounts, of_image.collect::<Result<_>>()?);
    Ok(mounts)
}

fn add_missing(mounts: &mut Vec<Mount>, more: Vec<Mount>) {
    for mount in more {
        if !mounts.iter().any(|own| own.target == mount.target) {
            mounts.push(mount);
        }
    }
}

fn refuse_same_targets(mounts: &[Mount]) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        if mounts[..index].iter().any(|other| other.target == mount.target) {
            let target = mount.target.display();
            return Err(Failure::new(format!("more than one mount at {target}")));
        }
    }
    Ok(())
}

/// `CONTAINER[:ro|rw]`: its volumes and what it has from the host, but not what it has in memory.
fn volumes_from(store: &Store, text: &str) -> Result<Vec<Mount>> {
    let (key, mode) = key_and_mode(text);
    if !matches!(mode, "ro" | "rw" | "z" | "Z") {
        return Err(Failure::new(format!("{mode:?} is not a mode of --volumes-from"))
            .hint("write --volumes-from CONTAINER or --volumes-from CONTAINER:ro"));
    }
    let mut mounts = store.find(key)?.config.mounts;
    mounts.retain(|mount| mount.kind != MountKind::Tmpfs);
    for mount in &mut mounts {
        if let MountKind::Volume(source) = &mut mount.kind {
            source.filling = Filling::Never;
        }
        if mode == "ro" && !mount.options.iter().any(|option| option == "ro") {
            mount.options.push("ro".into());
        }
    }
    Ok(mounts)
}

fn key_and_mode(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, "rw"))
}

/// Ids of the containers that `--volumes-from` names.
pub fn sources(store: &Store, texts: &[String]) -> Result<Vec<String>> {
    texts.iter().map(|text| Ok(store.find(key_and_mode(text).0)?.config.id)).collect()
}

/// `-v TARGET`, `-v SOURCE:TARGET[:OPTIONS]`; a source with a slash is a path, others are volumes.
fn volume(text: &str) -> Result<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => {
            return Err(Failure::new(format!("{text:?} is not a volume"))
                .hint("write TARGET, NAME:TARGET, SOURCE:TARGET or SOURCE:TARGET:ro"));
        }
    };
    let options = options.split(',').filter(|option| !option.is_empty());
    if !source.starts_with(['/', '.']) {
        return named(source, target, options);
    }
    if !Path::new(source).exists() {
        fs::create_dir_all(source)?;
    }
    bind(source, target, options)
}

/// A volume; one without a name gets one when the container is made.
fn named<'a>(name: &str, target: &str, options: impl Iterator<Item = &'a str>) -> Result<Mount> {
    if !name.is_empty() {
        volume::check_name(name).map_err(|error| {
            Failure::from(error).hint("begin the path of a directory of the host with / or ./")
        })?;
    }
    let mut source = VolumeSource {
        name: name.to_owned(),
        filling: Filling::FromRootfs,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    };
    let mut own = vec!["rbind".to_owned()];
    for option in options {
        match option {
            "ro" | "readonly" => own.push("ro".into()),
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nosuid" | "nodev" | "noexec" => own.push(option.into()),
            "nocopy" => source.filling = Filling::Never,
            other => return Err(unknown_option(other)),
        }
    }
    own.push("rprivate".into());
    let kind = MountKind::Volume(source);
    Ok(Mount { kind, target: target_path(target)?, options: own })
}

/// A directory or file of the host.
fn bind<'a>(source: &str, target: &str, options: impl Iterator<Item = &'a str>) -> Result<Mount> {
    let source = fs::canonicalize(source).map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot mount {source:?}"))
    })?;
    let mut own = vec!["rbind".to_owned()];
    let mut propagation = "rprivate";
    for option in options {
        match option {
            "ro" | "readonly" => own.push("ro".into()),
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nosuid" | "nodev" | "noexec" => own.push(option.into()),
            "bind" | "rbind" => own[0] = option.into(),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                propagation = option;
            }
            other => return Err(unknown_option(other)),
        }
    }
    own.push(propagation.into());
    Ok(Mount { kind: MountKind::Bind { source }, target: target_path(target)?, options: own })
}

fn unknown_option(option: &str) -> Failure {
    Failure::new(format!("unknown option {option:?} of a volume"))
}

/// Where something is mounted: an absolute path below the root.
pub fn target_path(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    let is_plain = !path.components().any(|part| part == Component::ParentDir);
    if path.is_absolute() && is_plain && path != Path::new("/") {
        // Without `.`, doubled slashes and a slash at the end.
        return Ok(path.components().collect());
    }
    Err(Failure::new(format!("{text:?} is not an absolute path to mount at")))
}

/// `--tmpfs TARGET[:OPTIONS]`.
fn tmpfs(text: &str) -> Result<Mount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let given = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned);
    tmpfs_mount(target, given.collect())
}

fn tmpfs_mount(target: &str, given: Vec<String>) -> Result<Mount> {
    let mut options: Vec<String> = ["nosuid", "nodev"].map(str::to_owned).to_vec();
    if !given.iter().any(|option| option == "exec") {
        options.push("noexec".into());
    }
    options.extend(given.into_iter().filter(|option| option != "exec" && option != "rw"));
    Ok(Mount { kind: MountKind::Tmpfs, target: target_path(target)?, options })
}

/// `--mount type=bind,source=/a,target=/b,readonly`; a field in quotes may hold commas.
fn mount(text: &str) -> Result<Mount> {
    let fields = Fields::parse(text)?;
    let target = fields
        .get(&["target", "destination", "dst"])
        .ok_or_else(|| Failure::new(format!("--mount {text:?} has no target")))?;
    let source = fields.get(&["source", "src"]);
    let kind = fields.get(&["type"]).unwrap_or("volume");
    fields.refuse_all_but(kind)?;
    let read_only = fields.is_set(&["readonly", "ro"]).then_some("ro");
    match kind {
        "volume" => {
            let no_copy = fields.is_set(&["volume-nocopy"]).then_some("nocopy");
            let options = read_only.into_iter().chain(no_copy);
            let mut mount = named(source.unwrap_or_default(), target, options)?;
            if let MountKind::Volume(source) = &mut mount.kind {
                source.labels = fields.pairs("volume-label");
                source.options = fields.pairs("volume-opt");
            }
            Ok(mount)
        }
        "bind" => {
            let source =
                source.ok_or_else(|| Failure::new(format!("--mount {text:?} has no source")))?;
            let flat = fields.is_set(&["bind-nonrecursive"]).then_some("bind");
            let propagation = fields.get(&["bind-propagation"]);
            bind(source, target, read_only.into_iter().chain(flat).chain(propagation))
        }
        "tmpfs" => {
            let mut options = Vec::new();
            if let Some(size) = fields.get(&["tmpfs-size"]) {
                options.push(format!("size={}", parse::bytes(size)?));
            }
            options.extend(fields.get(&["tmpfs-mode"]).map(|mode| format!("mode={mode}")));
            options.extend(read_only.map(str::to_owned));
            tmpfs_mount(target, options)
        }
        other => Err(Failure::new(format!("there are no mounts of type {other:?}"))
            .hint("use type=volume, type=bind or type=tmpfs")),
    }
}

/// The fields of `--mount` in their order.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(text: &str) -> Result<Fields> {
        let fields = split_quoted(text)?;
        let pair = |field: String| match field.split_once('=') {
            Some((key, value)) => (key.trim().to_ascii_lowercase(), value.to_owned()),
            None => (field.trim().to_ascii_lowercase(), String::new()),
        };
        Ok(Fields(fields.into_iter().map(pair).collect()))
    }

    fn get(&self, names: &[&str]) -> Option<&str> {
        let field = self.0.iter().find(|(key, _)| names.contains(&key.as_str()));
        field.map(|(_, value)| value.as_str())
    }

    fn is_set(&self, names: &[&str]) -> bool {
        matches!(self.get(names), Some("" | "true" | "1"))
    }

    /// `KEY=VALUE` of all fields of this name.
    fn pairs(&self, name: &str) -> BTreeMap<String, String> {
        let values: Vec<String> =
            self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect();
        parse::labels(&values)
    }

    fn refuse_all_but(&self, kind: &str) -> Result<()> {
        let common = [
            "type",
            "source",
            "src",
            "target",
            "destination",
            "dst",
            "readonly",
            "ro",
            "consistency",
        ];
        let own: &[&str] = match kind {
            "volume" => &["volume-nocopy", "volume-label", "volume-opt", "volume-driver"],
            "bind" => &["bind-propagation", "bind-nonrecursive"],
            "tmpfs" => &["tmpfs-size", "tmpfs-mode"],
            _ => return Ok(()),
        };
        let unknown =
            self.0.iter().find(|(key, _)| !common.contains(&&**key) && !own.contains(&&**key));
        if let Some((key, _)) = unknown {
            return Err(Failure::new(format!("--mount type={kind} has no field {key:?}")));
        }
        match self.get(&["volume-driver"]) {
            None | Some("" | "local") => Ok(()),
            Some(driver) => Err(unknown_driver(driver)),
        }
    }
}

/// There is one driver of volumes.
pub fn unknown_driver(driver: &str) -> Failure {
    Failure::new(format!("there is no volume driver {driver:?}")).hint("the only one is local")
}

/// Splits at commas as a line of CSV (RFC 4180): a field in quotes may hold them.
fn split_quoted(text: &str) -> Result<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    if is_quoted {
        Err(Failure::new(format!("--mount {text:?} has an open quote")))
    } else {
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(mount: &Mount) -> &VolumeSource {
        mount.volume().unwrap()
    }

    #[test]
    fn paths_and_names_are_told_apart() {
        let mount = volume("/etc:/x:ro").unwrap();
        assert_eq!(mount.options, ["rbind", "ro", "rprivate"]);
        assert!(matches!(mount.kind, MountKind::Bind { .. }));
        let mount = volume("data:/x/:ro,nocopy").unwrap();
        assert_eq!(mount.target, Path::new("/x"));
        assert_eq!(
            (source(&mount).name.as_str(), source(&mount).filling),
            ("data", Filling::Never)
        );
        assert_eq!(source(&volume("/data").unwrap()).name, "");
        for wrong in ["/etc:x", "/etc:/x/../..", "d:/x", "a b:/x", "data:/x:shared", "data"] {
            assert!(volume(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_of_mounts() {
        let own = mount("type=tmpfs,target=/t,tmpfs-size=1m").unwrap();
        assert_eq!(own.options, ["nosuid", "nodev", "noexec", "size=1048576"]);
        let bound = mount("type=bind,src=/etc,dst=/x,readonly").unwrap();
        assert_eq!(bound, volume("/etc:/x:ro").unwrap());
        let made = mount(
            "src=data,dst=/x,volume-label=a=b,volume-opt=type=tmpfs,\"volume-opt=o=uid=1,gid=2\"",
        );
        let made = made.unwrap();
        assert_eq!(source(&made).labels["a"], "b");
        assert_eq!(source(&made).options["o"], "uid=1,gid=2");
        for wrong in
            ["type=volume", "type=npipe,dst=/x", "type=bind,dst=/x", "dst=/x,tmpfs-size=1m"]
        {
            assert!(mount(wrong).is_err(), "{wrong}");
        }
    }
}
