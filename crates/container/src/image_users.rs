//! Who needs an image: containers, and checkpoints of such that may be gone.

use stasis_store::{User, Users};

use crate::{checkpoint::Stored, error::Result, store::Store};

impl Store {
    /// The containers and checkpoints of each image, which must not be removed.
    ///
    /// # Errors
    /// [`Error::Refused`] if they cannot be listed.
    pub fn users_of_images(&self) -> Result<Users> {
        let mut users = Users::new();
        for container in self.list()? {
            let Some(image) = container.config.rootfs.image() else { continue };
            let name = container.config.name.clone();
            let user = match container.state().is_ok_and(|state| state.status.is_up()) {
                true => User::RunningContainer(name),
                false => User::StoppedContainer(name),
            };
            users.entry(*image).or_default().push(user);
        }
        for Stored { checkpoint, .. } in self.checkpoints().list()? {
            let Some(image) = checkpoint.container.rootfs.image() else { continue };
            let name = format!("{}/{}", checkpoint.container.name, checkpoint.name);
            users.entry(*image).or_default().push(User::Checkpoint(name));
        }
        Ok(users)
    }
}
