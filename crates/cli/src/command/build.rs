//! `build` and `builder`: images by Dockerfiles.

mod origin;
mod progress;

use std::{collections::BTreeMap, fs, io::Write};

use jiff::Timestamp;
use stasis_build::{
    Caching, Context, Network, Outside, Request, SecretSource, Squashing, Supply, Text,
};
use stasis_container::{Home, Store};
use stasis_oci::Platform;
use stasis_registry::{Access, PullOptions, PullPolicy, Silent};
use stasis_store::{Image, ImageStore};

use crate::{
    args::{BuildArgs, BuilderCommand, BuilderPruneArgs, ProgressStyle},
    confirm,
    failure::{Failure, Result},
    parse, registry, size,
};
use origin::Origin;
use progress::{Lines, OnlyFailures};

pub fn builder(store: &Store, command: BuilderCommand) -> Result<i32> {
    match command {
        BuilderCommand::Build(args) => build(store, &args),
        BuilderCommand::Prune(args) => prune(store, &args),
    }
}

/// Takes away what builds left behind that were killed. That must not keep a command from its turn.
pub fn sweep(home: &Home) {
    if let Err(error) = stasis_build::sweep(home) {
        tracing::warn!("cannot clean up after a build that was killed: {error}");
    }
}

/// Builds an image and gives it its names.
pub fn build(store: &Store, args: &BuildArgs) -> Result<i32> {
    let origin = Origin::find(args, store.home())?;
    let request = request(store, args, &origin)?;
    let mut supply = Outer {
        images: &request.store,
        access: registry::access(store.home(), &args.access, None)?,
        policy: pull_policy(&args.pull)?,
    };
    let is_quiet = args.quiet || args.progress == ProgressStyle::Quiet;
    let built = match is_quiet {
        true => stasis_build::build(&request, &mut supply, &mut OnlyFailures::default()),
        false => stasis_build::build(&request, &mut supply, &mut Lines::default()),
    }?;
    let id = built.image.id.to_string();
    if let Some(path) = &args.iidfile {
        fs::write(path, &id)?;
    }
    if args.quiet {
        say!("{id}");
    }
    Ok(0)
}

fn request(store: &Store, args: &BuildArgs, origin: &Origin) -> Result<Request> {
    let made = source_date()?;
    Ok(Request {
        home: store.home().clone(),
        store: store.images(),
        dockerfile: Text {
            name: origin.dockerfile_name.clone(),
            bytes: origin.dockerfile.clone(),
            changed: made.unwrap_or(origin.changed),
        },
        context: Context { dir: origin.dir().to_owned(), ignore: origin.ignore.clone() },
        names: args.tag.iter().map(|tag| tag.parse()).collect::<stasis_oci::Result<_>>()?,
        build_args: parse::labels(&parse::environment(&[], &args.build_arg)?),
        labels: parse::labels(&args.label),
        target: args.target.clone(),
        platform: platform(args)?,
        caching: if args.no_cache { Caching::Renewed } else { Caching::Used },
        squashing: if args.squash { Squashing::OneLayer } else { Squashing::Layers },
        network: network(&args.network)?,
        extra_hosts: args.add_host.iter().map(|text| host(text)).collect::<Result<_>>()?,
        secrets: args.secret.iter().map(|text| secret(text)).collect::<Result<_>>()?,
        made,
    })
}

fn pull_policy(text: &str) -> Result<PullPolicy> {
    match text {
        "true" | "always" => Ok(PullPolicy::Always),
        "false" | "missing" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => Err(Failure::new(format!("{text:?} is not a policy of --pull"))
            .hint("use always, missing or never")),
    }
}

fn platform(args: &BuildArgs) -> Result<Platform> {
    match args.platform.as_deref() {
        None | Some("") => Ok(Platform::host()),
        Some(text) if text.contains(',') => {
            Err(Failure::new("an image is built for one platform at a time")
                .hint("build once for each of them"))
        }
        Some(text) => Ok(text.parse()?),
    }
}

/// The time that reproducible builds shall tell (reproducible-builds.org, `SOURCE_DATE_EPOCH`).
fn source_date() -> Result<Option<Timestamp>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.map(Some).ok_or_else(|| {
        Failure::new(format!("SOURCE_DATE_EPOCH is {text:?}, which is no number of seconds"))
    })
}

fn network(text: &str) -> Result<Network> {
    match text {
        "default" | "host" => Ok(Network::Host),
        "none" => Ok(Network::None),
        other => Err(Failure::new(format!("unknown network {other:?} for a build"))
            .hint("use default, host or none")),
    }
}

fn host(text: &str) -> Result<(String, String)> {
    let parts = text.split_once(['=', ':']).filter(|(name, _)| !name.is_empty());
    let (name, address) = parts.ok_or_else(|| {
        Failure::new(format!("{text:?} is no host")).hint("write --add-host NAME:ADDRESS")
    })?;
    let address = address.trim_matches(['[', ']']);
    match address.parse::<std::net::IpAddr>() {
        Ok(_) => Ok((name.to_owned(), address.to_owned())),
        Err(_) => Err(Failure::new(format!("{address:?} is not an address"))),
    }
}

/// `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`; with the name alone, a variable of that name, or else
/// a file.
fn secret(text: &str) -> Result<(String, SecretSource)> {
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        fields.insert(if key == "source" { "src" } else { key }, value);
    }
    let wrong = |what: String| {
        Failure::new(what).hint("write --secret id=NAME,src=FILE or --secret id=NAME,env=VARIABLE")
    };
    if let Some(key) = fields.keys().find(|key| !["id", "src", "env", "type"].contains(*key)) {
        return Err(wrong(format!("unknown field {key:?} of --secret")));
    }
    let id = fields.get("id").filter(|id| !id.is_empty());
    let id = (*id.ok_or_else(|| wrong(format!("the secret {text:?} has no id")))?).to_owned();
    let source = match (fields.get("src"), fields.get("env")) {
        (Some(_), Some(_)) => return Err(wrong("a secret has src= or env=, not both".into())),
        (Some(path), None) => SecretSource::File(path.into()),
        (None, Some(name)) => SecretSource::Variable((*name).to_owned()),
        (None, None) if std::env::var_os(&id).is_some() => SecretSource::Variable(id.clone()),
        (None, None) => SecretSource::File(id.as_str().into()),
    };
    Ok((id, source))
}

fn prune(store: &Store, args: &BuilderPruneArgs) -> Result<i32> {
    if !args.force && !confirm::ask("This will remove all build cache that no build uses.")? {
        return Ok(0);
    }
    let pruned = stasis_build::prune(store.home(), &store.images())?;
    say!("Total reclaimed space: {}", size::human(pruned.size_bytes));
    Ok(0)
}

/// Images come from the store or their registry, files from where their URLs lead.
struct Outer<'a> {
    images: &'a ImageStore,
    access: Access,
    policy: PullPolicy,
}

impl Supply for Outer<'_> {
    fn image(&mut self, name: &str, platform: &Platform) -> Outside<Image> {
        let platform = Some(platform.clone());
        let options = PullOptions { access: self.access.clone(), platform };
        Ok(stasis_registry::obtain(self.images, name, self.policy, &options, &Silent)?)
    }

    fn download(&mut self, url: &str, into: &mut dyn Write) -> Outside<Option<Timestamp>> {
        Ok(stasis_registry::download(url, &self.access.scratch, into)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        assert!(matches!(secret("id=a,src=/x").unwrap(), (id, SecretSource::File(_)) if id == "a"));
        assert!(matches!(secret("type=env,id=a,env=X").unwrap(), (_, SecretSource::Variable(_))));
        for text in ["", "src=/x", "id=a,what=1", "id=a,src=/x,env=Y"] {
            assert!(secret(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host("a:10.0.0.1").unwrap(), ("a".into(), "10.0.0.1".into()));
        assert_eq!(host("a=[::1]").unwrap(), ("a".into(), "::1".into()));
        assert!(host("a").is_err() && host(":1.1.1.1").is_err() && host("a:b").is_err());
    }
}
