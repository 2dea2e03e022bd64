//! Taking names away from images, and removing images, by Docker's rules.

use std::collections::{BTreeMap, BTreeSet};

use stasis_oci::{ChainId, Digest, Reference};

use crate::{
    ImageStore,
    error::{Error, Result},
    image::{self, Image},
    sweep::{Reach, Swept},
};

/// Shall names go that are not the only ones, or in spite of containers?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    No,
    Yes,
}

/// Who needs an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    RunningContainer(String),
    StoppedContainer(String),
    /// What a container had become: it is nothing without the image.
    Checkpoint(String),
}

impl User {
    fn is_running(&self) -> bool {
        matches!(self, User::RunningContainer(_))
    }

    fn reason(&self) -> String {
        match self {
            User::RunningContainer(name) => format!("container {name} runs on it"),
            User::StoppedContainer(name) => format!("container {name} was made of it"),
            User::Checkpoint(name) => format!("checkpoint {name} stands on it"),
        }
    }
}

/// Who needs images, by their ids.
pub type Users = BTreeMap<Digest, Vec<User>>;

/// What a removal did, in the order in which Docker tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub untagged: Vec<Reference>,
    /// The image, if it is gone.
    pub deleted: Option<Digest>,
    /// Layers that are gone with it, the topmost first.
    pub layers: Vec<ChainId>,
    pub size_bytes: u64,
}

/// Tells who has images now. It is asked twice: a container may be made while a name is taken away.
pub type AskUsers<'a> = &'a dyn Fn() -> Result<Users>;

impl ImageStore {
    /// Removes a name, and the image with the last one; or, if `key` is an id, the image with all
    /// its names. An image that containers were made of stays without name until they are gone. One
    /// that is damaged can be removed too.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::InUse`] if the image would go but a container needs it, or if
    /// it is named by id and has names in several repositories. [`Force::Yes`] takes the names away
    /// even then, but not those of an image that a running container has.
    pub fn remove(&self, key: &str, force: Force, users: AskUsers<'_>) -> Result<Removed> {
        let image = match self.find(key) {
            Ok(image) => image,
            Err(error @ (Error::Ambiguous(..) | Error::Refused { .. })) => return Err(error),
            Err(error) => return self.remove_damaged(key, users, error),
        };
        let named: Option<Reference> = key.parse().ok().filter(|name| image.names.contains(name));
        let going = match &named {
            Some(name) => names_going_with(name, &image),
            None => image.names.clone(),
        };
        let is_last = going.len() == image.names.len();
        let all_users = users()?;
        let using = all_users.get(&image.id).map_or(&[][..], Vec::as_slice);
        if is_last {
            check_users(&image, &named, force, using)?;
        }
        if named.is_none() && force == Force::No {
            check_one_repository(&image)?;
        }
        let stays = !is_last || !using.is_empty();
        self.take_away(&image, going, stays, users)
    }

    fn take_away(
        &self,
        image: &Image,
        going: Vec<Reference>,
        stays: bool,
        users: AskUsers<'_>,
    ) -> Result<Removed> {
        let gone = self.update_references(|references| {
            references.names.retain(|name, _| !going.contains(name));
            // Somebody may have given it another name meanwhile.
            let of_image = references.manifests_of(&image.id);
            let stays = stays || !references.names_of(&of_image).is_empty();
            Ok(if stays { BTreeMap::new() } else { references.take_images(&of_image) })
        })?;
        let mut removed = Removed { untagged: going, ..Removed::default() };
        if gone.is_empty() {
            return Ok(removed);
        }
        // Who makes a container looks for the image when its record is written: either it sees that
        // the image is gone, or we see the container.
        if users()?.contains_key(&image.id) {
            self.update_references(|references| {
                references.images.extend(gone);
                Ok(())
            })?;
            return Ok(removed);
        }
        removed.deleted = Some(image.id);
        let swept = self.sweep_images(&gone.into_keys().collect())?;
        removed.size_bytes = swept.size_bytes;
        let gone = |chain: &ChainId| swept.layers.contains(chain);
        removed.layers = image.chain().into_iter().rev().filter(gone).collect();
        Ok(removed)
    }

    /// Of an image whose manifest or configuration cannot be read only the record is known.
    fn remove_damaged(&self, key: &str, users: AskUsers<'_>, error: Error) -> Result<Removed> {
        let references = self.references()?;
        let hex = key.strip_prefix("sha256:").unwrap_or(key);
        let by_name = image::by_name(&references, key);
        let by_id = |id: &Digest| !hex.is_empty() && id.hex().starts_with(hex);
        let records = references.images.iter();
        let ids: BTreeSet<Digest> = records
            .filter(|(manifest, entry)| by_name.as_ref() == Some(manifest) || by_id(&entry.config))
            .map(|(_, entry)| entry.config)
            .collect();
        let [id] = ids.iter().copied().collect::<Vec<_>>()[..] else { return Err(error) };
        if let Some([user, ..]) = users()?.get(&id).map(Vec::as_slice) {
            let reason = user.reason();
            return Err(Error::InUse { image: id.short(), reason });
        }
        let untagged = self.update_references(|references| {
            let manifests = references.manifests_of(&id);
            let names = references.names_of(&manifests);
            references.names.retain(|name, _| !names.contains(name));
            references.take_images(&manifests);
            Ok(names)
        })?;
        let swept = self.sweep(Reach::Old)?;
        let size_bytes = swept.size_bytes;
        Ok(Removed { untagged, deleted: Some(id), layers: Vec::new(), size_bytes })
    }

    /// Their contents go, but for what other images need.
    fn sweep_images(&self, manifests: &BTreeSet<Digest>) -> Result<Swept> {
        let mut these = crate::sweep::Contents::default();
        for manifest in manifests {
            let contents = self.contents_of(manifest)?;
            these.blobs.extend(contents.blobs);
            these.layers.extend(contents.layers);
        }
        self.sweep(Reach::These(these))
    }
}

/// With the last tag of a repository go the digests of that repository.
fn names_going_with(name: &Reference, image: &Image) -> Vec<Reference> {
    let mut going = vec![name.clone()];
    let same_repository = |other: &&Reference| other.repository() == name.repository();
    let others = || image.names.iter().filter(same_repository).filter(|other| *other != name);
    let was_last_tag = name.tag().is_some() && others().all(|other| other.tag().is_none());
    if was_last_tag {
        going.extend(others().cloned());
    }
    going
}

fn check_users(
    image: &Image,
    named: &Option<Reference>,
    force: Force,
    using: &[User],
) -> Result<()> {
    let in_use = |reason: String| {
        let image = named.as_ref().map_or_else(|| image.display_name(), Reference::familiar);
        Err(Error::InUse { image, reason })
    };
    let running = using.iter().find(|user| user.is_running());
    match (running.or(using.first()), force) {
        (Some(user), Force::No) => in_use(user.reason()),
        (Some(user), Force::Yes) if user.is_running() && named.is_none() => in_use(user.reason()),
        _ => Ok(()),
    }
}

fn check_one_repository(image: &Image) -> Result<()> {
    let repositories: BTreeSet<_> = image.names.iter().map(Reference::repository).collect();
    if repositories.len() <= 1 {
        return Ok(());
    }
    let names: Vec<String> = repositories.iter().map(|name| name.familiar()).collect();
    let reason = format!("it has names in several repositories: {}", names.join(", "));
    Err(Error::InUse { image: image.short_id(), reason })
}
