//! What a run leaves behind in the kernel and below `runroot`.

use stasis_enclosure::{cgroup::Cgroup, mount};

use crate::{error::Result, networking, record, spec::cgroup_name, store::Container, volume};

/// Takes away mounts, control groups, network devices and the runtime library's state of a container
/// that does not run. Nothing left to take away is fine.
///
/// # Errors
/// [`crate::Error::Enclosure`] or [`crate::Error::Refused`] by the kernel.
pub(crate) fn leftovers(container: &Container) -> Result<()> {
    mount::unmount_all(&container.place.merged())?;
    let cgroup = Cgroup::new(cgroup_name(&container.config.id));
    if cgroup.is_frozen() {
        cgroup.thaw()?;
    }
    cgroup.remove()?;
    networking::leave(container)?;
    record::remove_tree(&container.place.runtime)?;
    record::remove_tree(&container.place.bundle())?;
    volume::unmount_volumes(container)
}
