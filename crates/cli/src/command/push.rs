//! `push`.

use stasis_container::Home;
use stasis_oci::{Reference, Tag};
use stasis_registry::{Compression, Error, PushOptions, Silent};
use stasis_store::ImageStore;

use crate::{
    args::registry::{PushArgs, PushCompression},
    failure::{Failure, Result},
    progress::{Bars, Place, Words},
    registry,
};

pub fn run(home: &Home, args: &PushArgs) -> Result<i32> {
    let reference: Reference = args.name.parse()?;
    let options = PushOptions {
        access: registry::access(home, &args.access, args.creds.as_deref())?,
        compression: match args.compression {
            PushCompression::Gzip => Compression::Gzip,
            PushCompression::Zstd => Compression::Zstd,
            PushCompression::None => Compression::Plain,
        },
    };
    let store = home.images();
    let is_tag_left_out = registry::is_tag_left_out(&args.name);
    if args.all_tags && !is_tag_left_out {
        return Err(Failure::new("--all-tags goes with a name without tag and digest"));
    }
    let references = match args.all_tags {
        true => all_tags(&store, &reference)?,
        false => vec![reference.clone()],
    };
    if !args.quiet {
        if is_tag_left_out && !args.all_tags {
            say!("Using default tag: {}", Tag::latest());
        }
        say!("The push refers to repository [{}]", reference.repository());
    }
    for reference in &references {
        one(&store, reference, &options, args)?;
    }
    Ok(0)
}

fn all_tags(store: &ImageStore, reference: &Reference) -> Result<Vec<Reference>> {
    let mut references = Vec::new();
    for image in store.list().map_err(Error::from)? {
        let is_asked = |name: &&Reference| name.repository() == reference.repository();
        references.extend(image.tags().filter(is_asked).cloned());
    }
    references.sort();
    match references.is_empty() {
        true => Err(Failure::new(format!("no image of {} is here", reference.repository()))),
        false => Ok(references),
    }
}

fn one(
    store: &ImageStore,
    reference: &Reference,
    options: &PushOptions,
    args: &PushArgs,
) -> Result<()> {
    let failed = |error| registry::failure(format!("cannot push {}", reference.familiar()), error);
    if args.quiet {
        stasis_registry::push(store, reference, options, &Silent).map_err(failed)?;
        say!("{reference}");
        return Ok(());
    }
    let bars = Bars::new(Words::Push, Place::Out);
    let pushed = stasis_registry::push(store, reference, options, &bars).map_err(failed)?;
    drop(bars);
    let tag = reference.tag().map(Tag::to_string).unwrap_or_default();
    say!("{tag}: digest: {} size: {}", pushed.digest, pushed.size_bytes);
    Ok(())
}
