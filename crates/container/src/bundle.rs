//! Everything on disk that the launcher needs: root file system, host files, specification.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode as Permissions, OFlags, ResolveFlags, mkdirat, openat2};
use stasis_enclosure::{cgroup::Cgroup, mount::Overlay};

use crate::{
    cleanup,
    config::{Network, RootfsAccess},
    confinement::Confinement,
    error::{Context, Error, Result},
    launcher::{InitProgram, Request, Start},
    monitor::Mode,
    record,
    spec::{self, InitKind},
    store::Container,
    user,
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
    let rootfs = mount_rootfs(container)?;
    write_host_files(container)?;
    let (kind, program) = match mode {
        Mode::Program => {
            (InitKind::Program, InitProgram::OfSpec(Confinement::of(&config.security)?))
        }
        Mode::Restore { .. } => (InitKind::Blank, InitProgram::Blank),
    };
    let user = user::look_up(&rootfs, &config.user)?;
    if kind == InitKind::Program {
        make_inside(&rootfs, &config.cwd)?;
    }
    let cgroup = Cgroup::new(spec::cgroup_name(&config.id));
    let input = spec::Input { config, place, rootfs: &rootfs, user: &user, cgroup: &cgroup, kind };
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
            own_network: config.network == Network::None,
        },
    })
}

/// Where the root file system is on the host; an overlay is mounted.
///
/// # Errors
/// [`Error::Enclosure`] by the kernel.
fn mount_rootfs(container: &Container) -> Result<PathBuf> {
    let rootfs = &container.config.rootfs;
    match rootfs.access {
        RootfsAccess::Direct => Ok(rootfs.dir.clone()),
        RootfsAccess::Overlay => {
            let place = &container.place;
            let overlay =
                Overlay { lower: rootfs.dir.clone(), upper: place.upper(), work: place.work() };
            overlay.mount_at(&place.merged())?;
            Ok(place.merged())
        }
    }
}

/// The files that tell a container its name and its neighbours.
fn write_host_files(container: &Container) -> Result<()> {
    let (config, place) = (&container.config, &container.place);
    let write = |name: &str, text: String| {
        let path = place.etc(name);
        if path.exists() {
            return Ok(());
        }
        fs::write(&path, text).context("write", path.display())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
            .context("write", path.display())
    };
    let own = format!("127.0.1.1\t{}\n", config.hostname);
    let hosts = match config.network {
        Network::Host => fs::read_to_string("/etc/hosts").unwrap_or_default() + &own,
        Network::None => format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{own}"),
    };
    write("hosts", hosts)?;
    write("hostname", format!("{}\n", config.hostname))?;
    write("resolv.conf", fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

/// Makes the working directory, as Docker does, without being led out of the container by a link.
fn make_inside(rootfs: &Path, path: &str) -> Result<()> {
    let root = File::open(rootfs).context("open", rootfs.display())?;
    let mut made = PathBuf::new();
    for part in Path::new(path).components() {
        let std::path::Component::Normal(part) = part else { continue };
        let parent = if made.as_os_str().is_empty() { Path::new(".") } else { &made };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = openat2(&root, parent, flags, Permissions::empty(), ResolveFlags::IN_ROOT)
            .context("open", made.display())?;
        match mkdirat(&open, part, Permissions::from(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(rustix::io::Errno::ROFS) => return Ok(()),
            Err(error) => return Err(error).context("make directory", made.join(part).display()),
        }
        made.push(part);
    }
    Ok(())
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
