//! Further names of checkpoints, which nobody else has and which keep them from being pruned.

use std::collections::BTreeMap;

use super::{Checkpoints, Stored};
use crate::{
    error::{Error, Result},
    name,
    record::{self, Lock},
};

/// Tags with the ids of their checkpoints.
pub type Tags = BTreeMap<String, String>;

impl Checkpoints {
    /// All tags.
    ///
    /// # Errors
    /// [`Error::Damaged`] if their record cannot be read.
    pub fn tags(&self) -> Result<Tags> {
        let path = self.home.checkpoint_tags();
        if path.exists() { record::read(&path) } else { Ok(Tags::new()) }
    }

    /// Gives a checkpoint one more name; one that another has is taken from it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no name; [`Error::NoSuchCheckpoint`] if it was removed just now.
    pub fn tag(&self, stored: &Stored, tag: &str) -> Result<()> {
        name::check_name("checkpoint", tag)?;
        let _held = stored.hold()?;
        self.change_tags(|tags| {
            tags.insert(tag.to_owned(), stored.checkpoint.id.clone());
        })
    }

    /// Takes a tag away; the checkpoint stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such tag.
    pub fn untag(&self, tag: &str) -> Result<()> {
        let mut had = None;
        self.change_tags(|tags| had = tags.remove(tag))?;
        had.map(|_| ()).ok_or_else(|| Error::invalid(format!("no checkpoint has the tag {tag}")))
    }

    pub(super) fn forget_tags_of(&self, id: &str) -> Result<()> {
        if !self.tags()?.values().any(|tagged| tagged == id) {
            return Ok(());
        }
        self.change_tags(|tags| tags.retain(|_, tagged| tagged != id))
    }

    fn change_tags(&self, change: impl FnOnce(&mut Tags)) -> Result<()> {
        let _lock = Lock::take(&self.home.checkpoints_lock())?;
        let mut tags = self.tags()?;
        let before = tags.clone();
        change(&mut tags);
        if tags == before { Ok(()) } else { record::write(&self.home.checkpoint_tags(), &tags) }
    }
}
