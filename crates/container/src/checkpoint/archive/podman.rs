//! A container's configuration in Podman's words (`config.dump`), and out of them.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stasis_network::Connection;

use crate::{
    checkpoint::Checkpoint,
    config::{
        Config, Filling, Limits, Mount, MountKind, Network, NetworkOptions, RestartPolicy, Rootfs,
        Seccomp, Security, Stop, VolumeSource,
    },
    error::{Error, Result},
};

/// What we take out of `config.dump`; everything else is only carried along by its maker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ConfigDump {
    pub id: String,
    pub name: String,
    pub pod: String,
    #[serde(rename = "rootfsImageID")]
    pub rootfs_image_id: String,
    #[serde(rename = "rootfsImageName")]
    pub rootfs_image_name: String,
    pub user: String,
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub stdin: bool,
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "stopSignal")]
    pub stop_signal: Option<i32>,
    #[serde(rename = "stopTimeout")]
    pub stop_timeout: Option<i64>,
    pub restart_policy: String,
    pub restart_retries: u32,
    pub privileged: bool,
    #[serde(rename = "createNetNS")]
    pub own_network: bool,
    #[serde(rename = "namedVolumes")]
    pub volumes: Option<Vec<NamedVolume>>,
    #[serde(rename = "createdTime")]
    pub created: Option<Timestamp>,
    #[serde(rename = "checkpointedTime")]
    pub checkpointed: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NamedVolume {
    #[serde(rename = "volumeName")]
    pub name: String,
    pub dest: PathBuf,
    pub options: Option<Vec<String>>,
}

/// The same in Podman's words, complete enough for its `restore` and for checkpointctl(1).
///
/// # Errors
/// [`Error::Damaged`] never in practice.
pub(super) fn config_dump(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let config = &checkpoint.container;
    let (image_id, image_name) = match &config.rootfs {
        Rootfs::Image { image, name } => (image.hex(), name.clone()),
        Rootfs::Directory { dir, .. } => (String::new(), dir.display().to_string()),
    };
    let (policy, retries) = restart_words(config.restart);
    let dump = ConfigDump {
        id: config.id.clone(),
        name: config.name.clone(),
        rootfs_image_id: image_id,
        rootfs_image_name: image_name.clone(),
        user: config.user.clone(),
        entrypoint: config.entrypoint.clone(),
        command: Some(config.command().to_vec()),
        stdin: config.stdin_open,
        labels: Some(config.labels.clone()),
        stop_signal: Some(config.stop.signal),
        stop_timeout: Some(config.stop.timeout_s),
        restart_policy: policy.into(),
        restart_retries: retries,
        privileged: config.security.privileged,
        own_network: config.network != Network::Host,
        volumes: Some(config.mounts.iter().filter_map(named_volume).collect()),
        created: Some(config.created),
        checkpointed: Some(checkpoint.created),
        pod: String::new(),
    };
    let mut value = to_value(&dump)?;
    let fixed = json!({
        "RawImageName": image_name,
        "rootfsImage": image_name,
        "rootfsImageRef": dump.rootfs_image_id,
        "Dependencies": [],
        "idMappingsOptions": {
            "HostUIDMapping": true, "HostGIDMapping": true, "UIDMap": null, "GIDMap": null,
            "AutoUserNs": false, "AutoUserNsOpts": {},
        },
        "lockID": 0,
        "shmSize": 67_108_864,
        "logDriver": "k8s-file",
        "runtime": "runc",
        "restored": checkpoint.parent.is_some(),
    });
    if let (Some(all), Value::Object(fixed)) = (value.as_object_mut(), fixed) {
        all.extend(fixed);
    }
    serde_json::to_vec_pretty(&value).map_err(|error| damaged(&error))
}

fn to_value(dump: &ConfigDump) -> Result<Value> {
    serde_json::to_value(dump).map_err(|error| damaged(&error))
}

fn damaged(error: &serde_json::Error) -> Error {
    Error::Damaged { object: "config.dump".into(), reason: error.to_string() }
}

fn restart_words(policy: RestartPolicy) -> (&'static str, u32) {
    match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::OnFailure { max_retries } => ("on-failure", max_retries.unwrap_or(0)),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
    }
}

fn named_volume(mount: &Mount) -> Option<NamedVolume> {
    let source = mount.volume()?;
    let (name, dest) = (source.name.clone(), mount.target.clone());
    Some(NamedVolume { name, dest, options: Some(mount.options.clone()) })
}

/// Addresses, by networks and devices (`network.status`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct NetworkStatus {
    interfaces: BTreeMap<String, Interface>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Interface {
    #[serde(default)]
    subnets: Vec<Subnet>,
    #[serde(default)]
    mac_address: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Subnet {
    ipnet: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

/// What Podman calls its default network.
const PODMANS_NETWORK: &str = "podman";

/// The addresses of a container in Podman's words.
///
/// # Errors
/// [`Error::Damaged`] never in practice.
pub(super) fn network_status(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let mut status: BTreeMap<&str, NetworkStatus> = BTreeMap::new();
    for endpoint in &checkpoint.endpoints {
        let name = match endpoint.network.as_str() {
            stasis_network::DEFAULT_NETWORK => PODMANS_NETWORK,
            other => other,
        };
        let subnets = endpoint.addresses.iter().map(|net| {
            let is_same_kind =
                |gateway: &&std::net::IpAddr| gateway.is_ipv4() == net.addr().is_ipv4();
            let gateway = endpoint.gateways.iter().find(is_same_kind).map(ToString::to_string);
            Subnet { ipnet: net.to_string(), gateway }
        });
        let interface =
            Interface { subnets: subnets.collect(), mac_address: endpoint.mac.to_string() };
        status.entry(name).or_default().interfaces.insert(endpoint.interface.clone(), interface);
    }
    serde_json::to_vec_pretty(&status).map_err(|error| damaged(&error))
}

/// The networks that a container of Podman's was in. A status that cannot be read is no reason to
/// refuse: the container gets other addresses then, as with Podman.
pub(super) fn connections(text: &[u8]) -> Vec<Connection> {
    let status: BTreeMap<String, NetworkStatus> = serde_json::from_slice(text).unwrap_or_default();
    let mut connections: Vec<Connection> = Vec::new();
    for (name, network) in status {
        let name = match name.as_str() {
            PODMANS_NETWORK => stasis_network::DEFAULT_NETWORK.to_owned(),
            _ => name,
        };
        let interface = network.interfaces.into_values().next().unwrap_or_default();
        let addresses =
            interface.subnets.iter().filter_map(|subnet| subnet.ipnet.split('/').next());
        connections.push(Connection {
            ip: addresses.clone().find_map(|text| text.parse().ok()),
            ip6: addresses.clone().find_map(|text| text.parse().ok()),
            mac: interface.mac_address.parse().ok(),
            ..Connection::to(name)
        });
    }
    if connections.is_empty() {
        connections.push(Connection::to(stasis_network::DEFAULT_NETWORK));
    }
    connections
}

/// Mounts of a specification that every container has, and that we make ourselves.
const STANDARD: [&str; 12] = [
    "/proc",
    "/dev",
    "/dev/pts",
    "/dev/mqueue",
    "/dev/shm",
    "/sys",
    "/sys/fs/cgroup",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/secrets",
];

/// What we make of a container that Podman had. `rootfs`: the image that stands for its own;
/// `connections`: the networks it was in.
///
/// # Errors
/// [`Error::Invalid`] for what we cannot follow, named.
pub(super) fn config(
    dump: &ConfigDump,
    spec: &Spec,
    rootfs: Rootfs,
    connections: Vec<Connection>,
) -> Result<Config> {
    if !dump.pod.is_empty() {
        return Err(Error::invalid(
            "it was taken of a container in a pod, and there are no pods here",
        ));
    }
    let process = spec.process().as_ref();
    let process =
        process.ok_or_else(|| Error::invalid("its specification names no process to run"))?;
    let user = process.user();
    let mut mounts = mounts(spec);
    mounts.extend(dump.volumes.iter().flatten().map(volume_mount));
    let names = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
    Ok(Config {
        id: String::new(),
        name: dump.name.clone(),
        created: dump.created.unwrap_or_else(Timestamp::now),
        rootfs,
        args: names(process.args()),
        entrypoint: dump.entrypoint.clone(),
        env: names(process.env()),
        cwd: process.cwd().display().to_string(),
        user: match dump.user.is_empty() {
            true => format!("{}:{}", user.uid(), user.gid()),
            false => dump.user.clone(),
        },
        hostname: spec.hostname().clone().unwrap_or_default(),
        tty: process.terminal().unwrap_or(false),
        stdin_open: dump.stdin,
        labels: dump.labels.clone().unwrap_or_default(),
        mounts,
        read_only: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        network: if dump.own_network { Network::Named(connections) } else { Network::Host },
        network_options: NetworkOptions::default(),
        init: false,
        security: security(dump, spec),
        limits: limits(spec),
        stop: Stop {
            signal: dump.stop_signal.unwrap_or(15),
            timeout_s: dump.stop_timeout.unwrap_or(10),
        },
        restart: restart(&dump.restart_policy, dump.restart_retries),
        auto_remove: false,
        volumes_from: Vec::new(),
        exposed_ports: Vec::new(),
        healthcheck: None,
    })
}

fn restart(word: &str, retries: u32) -> RestartPolicy {
    match word {
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure { max_retries: (retries > 0).then_some(retries) },
        _ => RestartPolicy::No,
    }
}

fn mounts(spec: &Spec) -> Vec<Mount> {
    let own = spec.mounts().iter().flatten().filter(|mount| {
        !STANDARD.iter().any(|standard| mount.destination() == std::path::Path::new(standard))
    });
    own.filter_map(|mount| {
        let options = mount.options().clone().unwrap_or_default();
        let kind = match (mount.typ().as_deref(), mount.source()) {
            (Some("tmpfs"), _) => MountKind::Tmpfs,
            (Some("bind"), Some(source)) => MountKind::Bind { source: source.clone() },
            _ => return None,
        };
        Some(Mount { kind, target: mount.destination().clone(), options })
    })
    .collect()
}

fn volume_mount(volume: &NamedVolume) -> Mount {
    let source = VolumeSource {
        name: volume.name.clone(),
        filling: Filling::Never,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    };
    Mount {
        kind: MountKind::Volume(source),
        target: volume.dest.clone(),
        options: volume.options.clone().unwrap_or_default(),
    }
}

fn security(dump: &ConfigDump, spec: &Spec) -> Security {
    let process = spec.process().as_ref();
    let capabilities = process.and_then(|process| process.capabilities().as_ref());
    let bounding = capabilities.and_then(|capabilities| capabilities.bounding().as_ref());
    let names = bounding.into_iter().flatten().map(ToString::to_string);
    let has_filter = spec.linux().as_ref().is_some_and(|linux| linux.seccomp().is_some());
    Security {
        cap_add: names.collect(),
        cap_drop: vec!["ALL".into()],
        privileged: dump.privileged,
        no_new_privileges: process.and_then(|process| process.no_new_privileges()).unwrap_or(false),
        seccomp: if has_filter { Seccomp::Default } else { Seccomp::Unconfined },
    }
}

fn limits(spec: &Spec) -> Limits {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let memory = resources.and_then(|resources| resources.memory().as_ref());
    let pids = resources.and_then(|resources| resources.pids().as_ref());
    Limits {
        memory_bytes: memory.and_then(|memory| memory.limit()).filter(|limit| *limit > 0),
        nano_cpus: None,
        pids: pids.map(|pids| pids.limit()).filter(|limit| *limit > 0),
        ulimits: Vec::new(),
    }
}
