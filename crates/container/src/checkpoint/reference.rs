//! Which checkpoint is meant: `CONTAINER/NAME`, a tag, a name that one checkpoint has, or the
//! beginning of an id, of four digits at least.

use std::collections::BTreeMap;

use super::{Checkpoints, Stored};
use crate::{
    error::{Error, Result},
    store::Store,
};

/// Of an id: fewer are more likely to be a slip.
const MIN_DIGITS: usize = 4;

impl Checkpoints {
    /// Finds a checkpoint.
    ///
    /// # Errors
    /// [`Error::NoSuchCheckpoint`] or [`Error::AmbiguousCheckpoint`].
    pub fn find(&self, reference: &str) -> Result<Stored> {
        let all = self.list()?;
        let found = match reference.split_once('/') {
            Some((container, name)) => self.of_name(&all, container, name),
            None => self.plain(&all, reference)?,
        };
        choose(reference, found).cloned()
    }

    /// The names that containers have now, by their ids.
    ///
    /// # Errors
    /// [`Error::Refused`] if the containers cannot be listed.
    pub fn container_names(&self) -> Result<BTreeMap<String, String>> {
        let containers = Store::new(self.home.clone()).list()?;
        Ok(containers.into_iter().map(|one| (one.config.id, one.config.name)).collect())
    }

    /// A container that is there goes before one of the same name that was there once, and of several
    /// checkpoints of one name of one container the newest is meant.
    fn of_name<'a>(&self, all: &'a [Stored], container: &str, name: &str) -> Vec<&'a Stored> {
        let named = all.iter().filter(|stored| stored.checkpoint.name == name);
        if let Ok(present) = Store::new(self.home.clone()).find(container)
            && let Some(newest) = named.clone().rfind(|stored| stored.is_of(&present.config.id))
        {
            return vec![newest];
        }
        let present = self.container_names().unwrap_or_default();
        named
            .filter(|stored| {
                let taken_of = &stored.checkpoint.container;
                let is_meant = taken_of.name == container
                    || (!container.is_empty() && taken_of.id.starts_with(container));
                is_meant && !present.contains_key(&taken_of.id)
            })
            .collect()
    }

    fn plain<'a>(&self, all: &'a [Stored], key: &str) -> Result<Vec<&'a Stored>> {
        let tagged = self.tags()?.get(key).cloned();
        let by = |is_meant: &dyn Fn(&Stored) -> bool| -> Vec<&'a Stored> {
            all.iter().filter(|stored| is_meant(stored)).collect()
        };
        if let Some(id) = tagged {
            return Ok(by(&|stored| stored.checkpoint.id == id));
        }
        let named = by(&|stored| stored.checkpoint.name == key);
        if !named.is_empty() || key.len() < MIN_DIGITS {
            return Ok(named);
        }
        Ok(by(&|stored| stored.checkpoint.id.starts_with(key)))
    }
}

fn choose<'a>(reference: &str, found: Vec<&'a Stored>) -> Result<&'a Stored> {
    match found.as_slice() {
        [] => Err(Error::NoSuchCheckpoint(reference.to_owned())),
        [one] => Ok(one),
        several => {
            let describe = |stored: &&Stored| {
                let Stored { checkpoint, .. } = stored;
                format!("{}/{} ({})", checkpoint.container.name, checkpoint.name, stored.short_id())
            };
            let list: Vec<String> = several.iter().map(describe).collect();
            Err(Error::AmbiguousCheckpoint(reference.to_owned(), list.join(", ")))
        }
    }
}
