//! `inspect`: all about a container or an image, under Docker's names.

mod network;

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use stasis_container::{
    Container, Error, State, Status, Store,
    config::{Config, Mount, MountKind, RestartPolicy, Rootfs, Seccomp},
    health::{Health, Probe},
    signal,
    volume::Volumes,
};

use super::{image, objects, ps};
use crate::{
    args::{InspectArgs, Inspected},
    failure::{Failure, Result},
};

pub fn run(store: &Store, args: &InspectArgs) -> Result<i32> {
    objects::print(&args.names, args.format.as_deref(), |key| match args.kind {
        Some(Inspected::Container) => describe_container(store, key),
        Some(Inspected::Image) => describe_image(store, key),
        None => describe_any(store, key),
    })
}

/// A container goes before an image of the same name.
fn describe_any(store: &Store, key: &str) -> Result<Value> {
    match store.find(key) {
        Err(Error::NoSuchContainer(_)) => match store.images().find(key) {
            Err(stasis_store::Error::NoSuchImage(_)) => {
                Err(Failure::new(format!("no such object: {key}"))
                    .hint("stasis ps -a lists all containers, stasis images all images"))
            }
            found => Ok(image::describe(&store.images(), &found?)),
        },
        _ => describe_container(store, key),
    }
}

fn describe_image(store: &Store, key: &str) -> Result<Value> {
    let images = store.images();
    Ok(image::describe(&images, &images.find(key)?))
}

fn describe_container(store: &Store, key: &str) -> Result<Value> {
    let container = store.find(key)?;
    Ok(describe(&container, &container.state()?, &store.volumes()))
}

fn describe(container: &Container, state: &State, volumes: &Volumes) -> Value {
    let config = &container.config;
    json!({
        "Id": config.id,
        "Created": config.created,
        "Path": config.args.first(),
        "Args": config.args.get(1..).unwrap_or_default(),
        "State": describe_state(state),
        "Image": config.rootfs.image().map_or_else(|| ps::image(config), ToString::to_string),
        "Rootfs": rootfs_dir(config),
        "LogPath": container.log_path(),
        "Name": format!("/{}", config.name),
        "RestartCount": state.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": host_config(config),
        "Mounts": mounts(config, volumes),
        "NetworkSettings": network::settings(config, state),
        "Config": {
            "Hostname": config.hostname,
            "ExposedPorts": network::exposed_ports(config),
            "User": config.user,
            "Tty": config.tty,
            "OpenStdin": config.stdin_open,
            "Env": config.env,
            "Image": ps::image(config),
            "Cmd": config.command(),
            "Entrypoint": config.entrypoint,
            "WorkingDir": config.cwd,
            "Labels": config.labels,
            "StopSignal": signal::name(config.stop.signal),
            "StopTimeout": config.stop.timeout_s,
            "Healthcheck": config.healthcheck,
        },
    })
}

fn rootfs_dir(config: &Config) -> Option<&Path> {
    match &config.rootfs {
        Rootfs::Directory { dir, .. } => Some(dir),
        Rootfs::Image { .. } => None,
    }
}

fn describe_state(state: &State) -> Value {
    // Docker's zero time.
    let time = |at: Option<Timestamp>| {
        at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string())
    };
    let pid = state.init.as_ref().filter(|_| state.status.is_up()).map_or(0, |init| init.pid);
    json!({
        "Status": state.status.word(),
        "Running": matches!(state.status, Status::Running | Status::Paused),
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": false,
        "Dead": false,
        "Pid": pid,
        "MonitorPid": state.monitor.as_ref().map_or(0, |monitor| monitor.pid),
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(state.started),
        "FinishedAt": time(state.finished),
        "Checkpointed": state.frozen.is_some(),
        "CheckpointedAt": time(state.frozen.as_ref().map(|frozen| frozen.at)),
        // Where it is, unless it was exported and is gone.
        "CheckpointPath": state.frozen.as_ref().map(|frozen| &frozen.dir).filter(|dir| dir.exists()),
        "Restored": state.restored.is_some(),
        "RestoredAt": time(state.restored),
        "Checkpoint": state.came_from.as_ref().map(|origin| &origin.name),
        "Health": state.health.as_ref().map(describe_health),
    })
}

fn describe_health(health: &Health) -> Value {
    let probe = |probe: &Probe| {
        json!({
            "Start": probe.start,
            "End": probe.end,
            "ExitCode": probe.exit_code,
            "Output": probe.output,
        })
    };
    json!({
        "Status": health.status.word(),
        "FailingStreak": health.failing_streak,
        "Log": health.log.iter().map(probe).collect::<Vec<_>>(),
    })
}

fn host_config(config: &Config) -> Value {
    let (policy, retries) = match config.restart {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max_retries } => ("on-failure", max_retries.unwrap_or(0)),
    };
    let mut security = Vec::new();
    match &config.security.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => security.push("seccomp=unconfined".to_owned()),
        Seccomp::Profile(profile) => security.push(format!("seccomp={profile}")),
    }
    if config.security.no_new_privileges {
        security.push("no-new-privileges".into());
    }
    let limits = &config.limits;
    let ulimits: Vec<Value> = limits
        .ulimits
        .iter()
        .map(|limit| json!({ "Name": limit.name, "Soft": limit.soft, "Hard": limit.hard }))
        .collect();
    json!({
        "AutoRemove": config.auto_remove,
        "CapAdd": config.security.cap_add,
        "CapDrop": config.security.cap_drop,
        "Privileged": config.security.privileged,
        "SecurityOpt": security,
        "ReadonlyRootfs": config.read_only,
        "NetworkMode": network::mode(&config.network),
        "PortBindings": network::port_bindings(config),
        "PublishAllPorts": config.network_options.publish_all,
        "Dns": config.network_options.resolver.servers,
        "DnsSearch": config.network_options.resolver.search,
        "DnsOptions": config.network_options.resolver.options,
        "ExtraHosts": network::extra_hosts(config),
        "Init": config.init,
        "Memory": limits.memory_bytes.unwrap_or(0),
        "NanoCpus": limits.nano_cpus.unwrap_or(0),
        "PidsLimit": limits.pids.unwrap_or(0),
        "Ulimits": ulimits,
        "RestartPolicy": { "Name": policy, "MaximumRetryCount": retries },
    })
}

fn mounts(config: &Config, volumes: &Volumes) -> Vec<Value> {
    config.mounts.iter().map(|mount| describe_mount(mount, volumes)).collect()
}

fn describe_mount(mount: &Mount, volumes: &Volumes) -> Value {
    let words = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
    let is_propagation = |option: &&String| words.contains(&option.as_str());
    let mut described = json!({
        "Type": "bind",
        "Source": "",
        "Destination": mount.target,
        "Mode": mount.options.join(","),
        "RW": !mount.options.iter().any(|option| option == "ro"),
        "Propagation": mount.options.iter().find(is_propagation).map_or("", String::as_str),
    });
    match &mount.kind {
        MountKind::Bind { source } => described["Source"] = json!(source),
        MountKind::Tmpfs => described["Type"] = json!("tmpfs"),
        MountKind::Volume(source) => {
            described["Type"] = json!("volume");
            described["Name"] = json!(source.name);
            described["Source"] = json!(volumes.mountpoint(&source.name));
            described["Driver"] = json!("local");
            described["Propagation"] = json!("");
        }
    }
    described
}
