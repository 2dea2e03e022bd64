//! Everything on disk that the launcher needs: root file system, host files, specification.

use std::path::Path;

use stasis_enclosure::cgroup::Cgroup;

use crate::{
    capability, cleanup,
    confinement::Confinement,
    error::{Error, Result},
    inside,
    launcher::{InitProgram, Request, Start},
    monitor::protocol::Mode,
    networking, record, rootfs,
    spec::{self, InitKind},
    store::Container,
    user,
    volume::{self, Volumes},
};

/// Prepares a run of the container.
///
/// # Errors
/// Whatever stands in the way.
pub(crate) fn prepare(container: &Container, mode: &Mode) -> Result<Request> {
    let (config, place) = (&container.config, &container.place);
    cleanup::leftovers(container)?;
    record::make_private_dir(&place.bundle())?;
    record::make_private_dir(&container.home.runtime())?;
    let rootfs = rootfs::mount(container)?;
    networking::write_files(container)?;
    let (kind, program) = match mode {
        Mode::Program => {
            (InitKind::Program, InitProgram::OfSpec(Confinement::of(&config.security)?))
        }
        Mode::Restore { .. } => (InitKind::Blank, InitProgram::Blank),
    };
    let user = user::look_up(&rootfs, &config.user)?;
    if kind == InitKind::Program {
        // As Docker does.
        inside::make_dirs(inside::open_root(&rootfs)?, Path::new(&config.cwd))?;
    }
    let cgroup = Cgroup::new(spec::cgroup_name(&config.id));
    volume::mount_volumes(container)?;
    let volumes = &Volumes::new(container.home.clone());
    let shared = networking::shared(container)?;
    let shared = shared.as_ref();
    let (rootfs, user, cgroup) = (&rootfs, &user, &cgroup);
    let input = spec::Input { config, volumes, place, rootfs, user, cgroup, kind, shared };
    record::write(&place.bundle().join("config.json"), &spec::runtime_spec(&input)?)?;
    Ok(Request {
        id: config.id.clone(),
        runtime_root: container.home.runtime(),
        console_socket: config.tty.then(|| place.console_socket()),
        cgroup: spec::cgroup_name(&config.id),
        log: place.launcher_log(),
        start: Start::Init {
            bundle: place.bundle(),
            program,
            own_network: config.network.is_own(),
        },
    })
}

/// The specification that the program of a container runs by, as others read it; `rootfs` is where its
/// root file system is.
///
/// # Errors
/// [`Error::Invalid`] for options that cannot be followed.
pub(crate) fn described(container: &Container, rootfs: &Path) -> Result<serde_json::Value> {
    let (config, place) = (&container.config, &container.place);
    let user = &user::look_up(rootfs, &config.user)?;
    let cgroup = &Cgroup::new(spec::cgroup_name(&config.id));
    let volumes = &Volumes::new(container.home.clone());
    let kind = InitKind::Program;
    let shared = networking::shared(container)?;
    let shared = shared.as_ref();
    let input = spec::Input { config, volumes, place, rootfs, user, cgroup, kind, shared };
    let mut spec = spec::runtime_spec(&input)?;
    // Here the executor sees to it, which others have not.
    let granted = capability::granted(&config.security)?;
    let (process, sets) = (&mut spec["process"], ["bounding", "effective", "permitted"]);
    sets.iter().for_each(|set| process["capabilities"][set] = serde_json::json!(granted));
    process["noNewPrivileges"] = config.security.no_new_privileges.into();
    Ok(spec)
}

/// Refuses working directories that are not absolute.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_cwd(cwd: &str) -> Result<()> {
    if cwd.starts_with('/') && !cwd.split('/').any(|part| part == "..") {
        return Ok(());
    }
    Err(Error::invalid(format!("the working directory {cwd:?} must be an absolute path")))
}
