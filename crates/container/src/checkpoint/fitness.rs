//! Whether a checkpoint can be restored on this host: yes, or all reasons why not.

use stasis_engine::{CpuCheck, Keeping, Pages, check_restore};
use stasis_model::{Obstacle, Subject};

use super::{Host, LeftOut, Stored, layout::IMAGES};
use crate::{
    config::{Config, MountKind, Network, Rootfs},
    error::Result,
    store::Store,
};

/// How a checkpoint is restored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    pub left_out: LeftOut,
    /// How much of the processor must be as it was.
    pub cpu: CpuCheck,
    pub pages: Pages,
    /// Which TCP connections come back.
    pub keeping: Keeping,
}

impl Store {
    /// All that stands in the way of a restore here; nothing is made, and no checksum looked at.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] if the checkpoint cannot be understood.
    pub fn obstacles_here(&self, stored: &Stored, cpu: CpuCheck) -> Result<Vec<Obstacle>> {
        let checkpoint = &stored.checkpoint;
        let here = Host::probe();
        let mut obstacles = Vec::new();
        if let Some(then) = &checkpoint.host {
            obstacles.extend(of_machine(then, &here));
            if !obstacles.is_empty() {
                // What comes from there means nothing here.
                return Ok(obstacles);
            }
        }
        obstacles.extend(self.of_surroundings(&checkpoint.container)?);
        let tree = check_restore(&stored.dir.join(IMAGES), &stored.parents(), cpu)?;
        obstacles.extend(tree.obstacles);
        if let Some(then) = &checkpoint.host
            && then.cgroups != here.cgroups
            && let Some(user) = tree.users_of_cgroups.first()
        {
            let reason = format!(
                "{user} has files of version {} open, and this host has version {}",
                then.cgroups.word(),
                here.cgroups.word()
            );
            obstacles.push(obstacle("control groups", reason, None));
        }
        Ok(obstacles)
    }

    /// What the container stands on.
    fn of_surroundings(&self, config: &Config) -> Result<Vec<Obstacle>> {
        let mut obstacles = Vec::new();
        if let Rootfs::Image { image, name } = &config.rootfs
            && self.images().find_id(image).is_err()
        {
            let reason = format!("{} is not here", image.short());
            let hint = "pull or load it, or let --pull do so";
            obstacles.push(obstacle(&format!("image {name}"), reason, Some(hint)));
        }
        for mount in &config.mounts {
            if let MountKind::Bind { source } = &mount.kind
                && !source.exists()
            {
                let what = format!("directory {}", source.display());
                obstacles.push(obstacle(&what, "it is mounted and is not here".into(), None));
            }
        }
        if let Network::Named(connections) = &config.network {
            let networks = self.networks();
            for connection in connections {
                let name = &connection.network;
                if name != stasis_network::DEFAULT_NETWORK && networks.find(name).is_err() {
                    let hint = "make it, or choose another one with --network";
                    let what = format!("network {name}");
                    obstacles.push(obstacle(&what, "it is not here".into(), Some(hint)));
                }
            }
        }
        Ok(obstacles)
    }
}

fn of_machine(then: &Host, here: &Host) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if then.architecture != here.architecture {
        let reason =
            format!("it is {}, and the checkpoint {}", here.architecture, then.architecture);
        obstacles.push(obstacle("the processor", reason, None));
    }
    if then.page_bytes != here.page_bytes {
        let reason = format!("they have {} bytes, and had {}", here.page_bytes, then.page_bytes);
        obstacles.push(obstacle("pages of memory", reason, None));
    }
    obstacles
}

fn obstacle(subject: &str, reason: String, hint: Option<&str>) -> Obstacle {
    Obstacle::lasting(Subject::Named(subject.into()), reason, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_told_whole() {
        let here = Host::probe();
        assert_eq!(of_machine(&here, &here), []);
        let other = Host { architecture: "aarch64".into(), page_bytes: 65536, ..here.clone() };
        let told: Vec<String> = of_machine(&other, &here).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "the processor: it is x86_64, and the checkpoint aarch64",
                "pages of memory: they have 4096 bytes, and had 65536"
            ]
        );
    }
}
