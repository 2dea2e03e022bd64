//! `pull`.

use stasis_container::Home;
use stasis_oci::{Reference, Tag};
use stasis_registry::{Freshness, PullOptions, Pulled, Silent};
use stasis_store::ImageStore;

use crate::{
    args::registry::PullArgs,
    failure::{Failure, Result},
    progress::{Bars, Place, Words},
    registry,
};

pub fn run(home: &Home, args: &PullArgs) -> Result<i32> {
    let reference: Reference = args.name.parse()?;
    let options = PullOptions {
        access: registry::access(home, &args.access, args.creds.as_deref())?,
        platform: args.platform.as_deref().map(str::parse).transpose()?,
    };
    let store = home.images();
    if args.all_tags {
        return all_tags(&store, &reference, &options, args);
    }
    if !args.quiet && registry::is_tag_left_out(&args.name) {
        say!("Using default tag: {}", Tag::latest());
    }
    let pulled = one(&store, &reference, &options, args)?;
    conclude(&reference.familiar(), &reference.to_string(), pulled.freshness, args);
    Ok(0)
}

fn all_tags(
    store: &ImageStore,
    reference: &Reference,
    options: &PullOptions,
    args: &PullArgs,
) -> Result<i32> {
    if !registry::is_tag_left_out(&args.name) {
        return Err(Failure::new("--all-tags goes with a name without tag and digest"));
    }
    let repository = reference.repository();
    let tags = stasis_registry::tags(repository, &options.access)
        .map_err(|error| cannot_pull(&repository.familiar(), error))?;
    let mut freshness = Freshness::Unchanged;
    for tag in tags {
        let pulled = one(store, &repository.with_tag(tag), options, args)?;
        if pulled.freshness == Freshness::New {
            freshness = Freshness::New;
        }
    }
    conclude(&repository.familiar(), &repository.to_string(), freshness, args);
    Ok(0)
}

fn one(
    store: &ImageStore,
    reference: &Reference,
    options: &PullOptions,
    args: &PullArgs,
) -> Result<Pulled> {
    let failed = |error| cannot_pull(&reference.familiar(), error);
    if args.quiet {
        return stasis_registry::pull(store, reference, options, &Silent).map_err(failed);
    }
    let name = match (reference.digest(), reference.tag()) {
        (None, Some(tag)) => tag.to_string(),
        _ => reference.to_string(),
    };
    say!("{name}: Pulling from {}", reference.repository().path());
    let bars = Bars::new(Words::Pull, Place::Out);
    let pulled = stasis_registry::pull(store, reference, options, &bars).map_err(failed)?;
    drop(bars);
    say!("Digest: {}", pulled.digest);
    Ok(pulled)
}

fn conclude(name: &str, whole_name: &str, freshness: Freshness, args: &PullArgs) {
    match freshness {
        _ if args.quiet => {}
        Freshness::New => say!("Status: Downloaded newer image for {name}"),
        Freshness::Unchanged => say!("Status: Image is up to date for {name}"),
    }
    say!("{whole_name}");
}

fn cannot_pull(name: &str, error: stasis_registry::Error) -> Failure {
    registry::failure(format!("cannot pull {name}"), error)
}
