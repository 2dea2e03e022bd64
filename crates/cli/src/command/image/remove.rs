//! `rmi` and `image prune`.

use stasis_container::Store;
use stasis_store::{Error, Force, Removed, Users};

use super::filter::Filters;
use crate::{
    args::{ImagePruneArgs, ImageRmArgs},
    confirm,
    failure::{Failure, Result},
    size,
};

pub fn run(store: &Store, args: &ImageRmArgs) -> Result<i32> {
    let images = store.images();
    let force = if args.force { Force::Yes } else { Force::No };
    let mut code = 0;
    for key in &args.images {
        match images.remove(key, force, &users_of(store)) {
            Ok(removed) => lines(&removed, "Untagged", "Deleted").iter().for_each(|l| say!("{l}")),
            // As with rm -f of a file that is not there.
            Err(error @ Error::NoSuchImage(_)) if args.force => {
                eprintln!("{}", Failure::from(error));
            }
            Err(error) => {
                eprintln!("{}", Failure::from(error));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// Docker writes the words with a capital here and without there.
fn lines(removed: &Removed, untagged: &str, deleted: &str) -> Vec<String> {
    let names = removed.untagged.iter().map(|name| format!("{untagged}: {}", name.familiar()));
    let image = removed.deleted.iter().map(|id| format!("{deleted}: {id}"));
    let layers = removed.layers.iter().map(|layer| format!("{deleted}: {layer}"));
    names.chain(image).chain(layers).collect()
}

pub fn prune(store: &Store, args: &ImagePruneArgs) -> Result<i32> {
    let filters = Filters::parse_prune(&args.filter)?;
    let reach = if args.all { Reach::Unused } else { Reach::Dangling };
    let warning = format!("This will remove {}.", reach.words());
    if !args.force && !confirm::ask(&warning)? {
        return Ok(0);
    }
    let pruned = prune_images(store, reach, &filters)?;
    pruned.say();
    say!("Total reclaimed space: {}", size::human(pruned.size_bytes));
    Ok(0)
}

/// Which images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those without a name.
    Dangling,
    /// All that no container was made of.
    Unused,
}

impl Reach {
    pub fn words(self) -> &'static str {
        match self {
            Reach::Dangling => "all dangling images",
            Reach::Unused => "all images without at least one container associated to them",
        }
    }
}

/// What a removal of many images did.
#[derive(Debug, Default)]
pub struct Pruned {
    lines: Vec<String>,
    pub size_bytes: u64,
}

impl Pruned {
    pub fn say(&self) {
        if !self.lines.is_empty() {
            say!("Deleted Images:\n{}\n", self.lines.join("\n"));
        }
    }
}

/// Removes images that no container was made of, and contents that commands which were cut off have
/// left behind.
pub fn prune_images(store: &Store, reach: Reach, filters: &Filters) -> Result<Pruned> {
    let images = store.images();
    let mut pruned = Pruned::default();
    for image in images.list()? {
        let users = store.users_of_images()?;
        let is_meant = match reach {
            Reach::Dangling => image.names.is_empty(),
            Reach::Unused => true,
        };
        if is_meant && !users.contains_key(&image.id) && filters.match_image(&image) {
            let removed = images.remove(&image.id.to_string(), Force::Yes, &users_of(store))?;
            pruned.size_bytes += removed.size_bytes;
            pruned.lines.extend(lines(&removed, "untagged", "deleted"));
        }
    }
    pruned.size_bytes += images.sweep_all()?.size_bytes;
    Ok(pruned)
}

fn users_of(store: &Store) -> impl Fn() -> std::result::Result<Users, Error> {
    || store.users_of_images().map_err(|error| Error::Invalid(error.to_string()))
}
