//! From a container's configuration to the OCI runtime specification that the runtime library reads.
//!
//! What the library would do worse than we, our own executor does instead, and the specification
//! says nothing about it: capabilities, no_new_privs, seccomp.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use stasis_enclosure::cgroup::{Cgroup, Layout};

use crate::{
    config::{Config, Mount, MountKind, Ulimit},
    error::{Error, Result},
    home::Place,
    networking::Shared,
    user::User,
    volume::Volumes,
};

pub(crate) const INIT_TARGET: &str = "/dev/init";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
pub(crate) const CPU_PERIOD_US: i64 = 100_000;
const NANO_CPUS_PER_CPU: i64 = 1_000_000_000;

/// What init shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InitKind {
    /// The user's program.
    Program,
    /// A blank for the engine to fill: root without limits, everything else comes back with it.
    Blank,
}

/// Everything that goes into a specification.
pub(crate) struct Input<'a> {
    pub config: &'a Config,
    pub volumes: &'a Volumes,
    pub place: &'a Place,
    pub rootfs: &'a Path,
    pub user: &'a User,
    pub cgroup: &'a Cgroup,
    pub kind: InitKind,
    /// The container whose network it shares.
    pub shared: Option<&'a Shared>,
}

/// The control group of a container, below the root of each hierarchy.
pub(crate) fn cgroup_name(id: &str) -> String {
    format!("stasis/{id}")
}

/// The runtime specification (OCI runtime-spec, `config.json`).
///
/// # Errors
/// [`Error::Invalid`] for options that cannot be followed.
pub(crate) fn runtime_spec(input: &Input) -> Result<Value> {
    let config = input.config;
    Ok(json!({
        "ociVersion": "1.0.2",
        "hostname": config.hostname,
        "root": { "path": input.rootfs, "readonly": config.read_only },
        "process": process(input)?,
        "mounts": mounts(input)?,
        "linux": linux(input)?,
    }))
}

fn process(input: &Input) -> Result<Value> {
    let config = input.config;
    let is_blank = input.kind == InitKind::Blank;
    let (uid, gid, additional) = match input.kind {
        InitKind::Blank => (0, 0, Vec::new()),
        InitKind::Program => (input.user.uid, input.user.gid, input.user.additional.clone()),
    };
    let rlimits = if is_blank { Vec::new() } else { rlimits(&config.limits.ulimits)? };
    Ok(json!({
        "terminal": config.tty,
        "user": { "uid": uid, "gid": gid, "additionalGids": additional },
        "args": arguments(config),
        "env": environment(config, &input.user.home),
        "cwd": if is_blank { "/" } else { config.cwd.as_str() },
        "rlimits": rlimits,
    }))
}

/// Program and arguments, behind our own init if that was asked for.
pub(crate) fn arguments(config: &Config) -> Vec<String> {
    let mut args = Vec::new();
    if config.init {
        args.extend([INIT_TARGET.to_owned(), "internal-init".into(), "--".into()]);
    }
    args.extend(config.args.iter().cloned());
    args
}

/// The environment of the program: what the user gave stands above what we add.
pub(crate) fn environment(config: &Config, home: &str) -> Vec<String> {
    let mut env = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={}", config.hostname)];
    if config.tty {
        env.push("TERM=xterm".into());
    }
    env.push(format!("HOME={home}"));
    merge_environment(env, &config.env)
}

/// Later values of a variable replace earlier ones in their place.
pub fn merge_environment(mut env: Vec<String>, over: &[String]) -> Vec<String> {
    for entry in over {
        let key = entry.split('=').next().unwrap_or_default();
        let same = |known: &&mut String| known.split('=').next() == Some(key);
        match env.iter_mut().find(same) {
            Some(known) => known.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
    env
}

/// Limits of the user; a wish above our own hard limit is cut down to it, since the kernel refuses
/// more without CAP_SYS_RESOURCE.
fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<Value>> {
    ulimits
        .iter()
        .map(|ulimit| {
            let (name, resource) = resource(&ulimit.name)?;
            let ceiling = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let hard = ulimit.hard.min(ceiling);
            if hard < ulimit.hard {
                tracing::warn!("ulimit {} is cut down to {hard}, our own hard limit", ulimit.name);
            }
            Ok(json!({ "type": name, "soft": ulimit.soft.min(hard), "hard": hard }))
        })
        .collect()
}

/// Both names of a limit: the specification's and ours.
pub(crate) fn resource(name: &str) -> Result<(&'static str, Resource)> {
    Ok(match name {
        "as" => ("RLIMIT_AS", Resource::As),
        "core" => ("RLIMIT_CORE", Resource::Core),
        "cpu" => ("RLIMIT_CPU", Resource::Cpu),
        "data" => ("RLIMIT_DATA", Resource::Data),
        "fsize" => ("RLIMIT_FSIZE", Resource::Fsize),
        "locks" => ("RLIMIT_LOCKS", Resource::Locks),
        "memlock" => ("RLIMIT_MEMLOCK", Resource::Memlock),
        "msgqueue" => ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
        "nice" => ("RLIMIT_NICE", Resource::Nice),
        "nofile" => ("RLIMIT_NOFILE", Resource::Nofile),
        "nproc" => ("RLIMIT_NPROC", Resource::Nproc),
        "rss" => ("RLIMIT_RSS", Resource::Rss),
        "rtprio" => ("RLIMIT_RTPRIO", Resource::Rtprio),
        "rttime" => ("RLIMIT_RTTIME", Resource::Rttime),
        "sigpending" => ("RLIMIT_SIGPENDING", Resource::Sigpending),
        "stack" => ("RLIMIT_STACK", Resource::Stack),
        other => return Err(Error::invalid(format!("{other:?} is not a ulimit"))),
    })
}

fn mounts(input: &Input) -> Result<Vec<Value>> {
    let config = input.config;
    let sys_access = if config.security.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys_access]),
    ];
    mounts.extend(cgroup_mounts(input)?);
    mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    if !config.mounts.iter().any(|m| m.target == Path::new("/dev/shm")) {
        let options = ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"];
        mounts.push(mount("/dev/shm", "tmpfs", "shm", &options));
    }
    for name in ["resolv.conf", "hostname", "hosts"] {
        let target = format!("/etc/{name}");
        if !config.mounts.iter().any(|m| m.target == Path::new(&target)) {
            mounts.push(bind(&host_file(input, name), &target, &["rbind", "rprivate"]));
        }
    }
    if config.init {
        mounts.push(bind(&own_program()?, INIT_TARGET, &["bind", "ro", "rprivate"]));
    }
    let mut own: Vec<&Mount> = config.mounts.iter().collect();
    // A mount on a place inside another one has to come after it.
    own.sort_by_key(|mount| mount.target.components().count());
    mounts.extend(own.into_iter().map(|mount| user_mount(mount, input.volumes)));
    Ok(mounts)
}

/// Who shares a network shares its names.
fn host_file(input: &Input, name: &str) -> std::path::PathBuf {
    match input.shared {
        Some(shared) if name != "hostname" => shared.place.etc(name),
        _ => input.place.etc(name),
    }
}

fn own_program() -> Result<std::path::PathBuf> {
    std::env::current_exe()
        .map_err(|error| Error::invalid(format!("cannot find our own program: {error}")))
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": kind, "source": source, "options": options })
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": "bind", "source": source, "options": options })
}

fn user_mount(mount: &Mount, volumes: &Volumes) -> Value {
    let bound = |source: &Path| {
        json!({
            "destination": mount.target, "type": "bind", "source": source, "options": mount.options,
        })
    };
    match &mount.kind {
        MountKind::Bind { source } => bound(source),
        MountKind::Volume(source) => bound(&volumes.mountpoint(&source.name)),
        MountKind::Tmpfs => json!({
            "destination": mount.target, "type": "tmpfs", "source": "tmpfs",
            "options": mount.options,
        }),
    }
}

/// Version 1 hierarchies cannot be mounted read-only through the library, and a container could
/// raise its own limits; so each controller's own directory is bound there.
fn cgroup_mounts(input: &Input) -> Result<Vec<Value>> {
    let access = if input.config.security.privileged { "rw" } else { "ro" };
    if input.cgroup.layout() == Layout::Unified {
        let options = ["nosuid", "noexec", "nodev", "relatime", access];
        return Ok(vec![mount("/sys/fs/cgroup", "cgroup", "cgroup", &options)]);
    }
    let mut mounts =
        vec![mount("/sys/fs/cgroup", "tmpfs", "tmpfs", &["nosuid", "noexec", "nodev", "mode=755"])];
    for controller in input.cgroup.controllers()? {
        let target = format!("/sys/fs/cgroup/{}", controller.name);
        let options = ["bind", access, "nosuid", "nodev", "noexec"];
        mounts.push(bind(&controller.dir, &target, &options));
    }
    Ok(mounts)
}

fn linux(input: &Input) -> Result<Value> {
    let config = input.config;
    let kinds = ["pid", "mount", "uts", "ipc", "cgroup"];
    let mut namespaces: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
    if config.network.is_own() {
        namespaces.push(json!({ "type": "network" }));
    }
    if let Some(shared) = input.shared {
        namespaces.push(json!({ "type": "network", "path": shared.namespace() }));
    }
    let mut linux = json!({
        "namespaces": namespaces,
        "cgroupsPath": format!("/{}", cgroup_name(&config.id)),
        "resources": resources(config),
    });
    if config.security.privileged {
        linux["devices"] = Value::Array(host_devices(Path::new("/dev")));
    } else {
        linux["maskedPaths"] = json!(MASKED_PATHS);
        linux["readonlyPaths"] = json!(READ_ONLY_PATHS);
    }
    Ok(linux)
}

const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn resources(config: &Config) -> Value {
    let limits = &config.limits;
    let mut resources = json!({
        "devices": [{ "allow": config.security.privileged, "access": "rwm" }],
    });
    if let Some(limit) = limits.memory_bytes {
        resources["memory"] = json!({ "limit": limit });
    }
    if let Some(nano_cpus) = limits.nano_cpus {
        let quota = cpu_quota_us(nano_cpus.unsigned_abs());
        resources["cpu"] = json!({ "quota": quota, "period": CPU_PERIOD_US });
    }
    if let Some(limit) = limits.pids {
        resources["pids"] = json!({ "limit": limit });
    }
    resources
}

/// Processor time per period.
pub(crate) fn cpu_quota_us(nano_cpus: u64) -> u64 {
    nano_cpus.saturating_mul(CPU_PERIOD_US.unsigned_abs()) / NANO_CPUS_PER_CPU.unsigned_abs()
}

/// All device nodes of the host, for `--privileged`.
fn host_devices(dir: &Path) -> Vec<Value> {
    let mut devices = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        let is_own = ["pts", "shm", "mqueue", "console"].iter().any(|own| name == *own);
        if kind.is_dir() && !is_own {
            devices.extend(host_devices(&entry.path()));
        } else if (kind.is_char_device() || kind.is_block_device()) && !is_own {
            devices.extend(device(&entry.path()));
        }
    }
    devices
}

fn device(path: &Path) -> Option<Value> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some(json!({
        "path": path,
        "type": if meta.file_type().is_block_device() { "b" } else { "c" },
        "major": rustix::fs::major(meta.rdev()),
        "minor": rustix::fs::minor(meta.rdev()),
        "fileMode": meta.mode() & 0o777,
        "uid": meta.uid(),
        "gid": meta.gid(),
    }))
}

/// Mount points of the specification whose contents the host provides again at a restore.
pub(crate) fn mount_points(spec: &Value) -> Vec<std::path::PathBuf> {
    spec["mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|mount| &mount["destination"])
        .chain(spec["linux"]["maskedPaths"].as_array().into_iter().flatten())
        .chain(spec["linux"]["readonlyPaths"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .chain(["/"])
        .map(Into::into)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_variables_win_in_place() {
        let env = merge_environment(vec!["A=1".into(), "B=2".into()], &["A=3".into(), "C=".into()]);
        assert_eq!(env, ["A=3", "B=2", "C="]);
    }

    #[test]
    fn limits_never_exceed_our_own() {
        let wish = Ulimit { name: "nofile".into(), soft: u64::MAX, hard: u64::MAX };
        let ceiling = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(rlimits(&[wish]).unwrap()[0]["hard"], json!(ceiling));
        assert!(rlimits(&[Ulimit { name: "x".into(), soft: 0, hard: 0 }]).is_err());
    }
}
