//! What a run leaves behind in the kernel and below `runroot`.

use rustix::process::{Pid, Signal, kill_process};
use stasis_enclosure::{cgroup::Cgroup, mount};

use crate::{error::Result, networking, record, spec::cgroup_name, store::Container, volume};

/// Takes away mounts, control groups, network devices and the runtime library's state of a container
/// that does not run. Nothing left to take away is fine. Tasks can be left if whoever made them was
/// killed before anybody looked after them, such as an init that waits for its release.
///
/// # Errors
/// [`crate::Error::Enclosure`] or [`crate::Error::Refused`] by the kernel.
pub(crate) fn leftovers(container: &Container) -> Result<()> {
    mount::unmount_all(&container.place.merged())?;
    let cgroup = Cgroup::new(cgroup_name(&container.config.id));
    if cgroup.is_frozen() {
        cgroup.thaw()?;
    }
    kill_all(&cgroup)?;
    cgroup.remove()?;
    networking::leave(container)?;
    record::remove_tree(&container.place.runtime)?;
    record::remove_tree(&container.place.bundle())?;
    volume::unmount_volumes(container)
}

fn kill_all(cgroup: &Cgroup) -> Result<()> {
    for pid in cgroup.processes()?.into_iter().filter_map(Pid::from_raw) {
        // It may be gone by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
    Ok(())
}
