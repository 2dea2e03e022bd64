//! What the user asked for: fixed when the container is created, kept as `config.json`.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use stasis_network::{Connection, Mac, Port, Protocol, Publish, resolver::Resolver};
use stasis_oci::{Digest, Healthcheck};

/// Everything that `create` fixes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub id: String,
    pub name: String,
    pub created: Timestamp,
    pub rootfs: Rootfs,
    /// Program and arguments.
    pub args: Vec<String>,
    /// The first of `args`, if they are an entry point: what follows is the command.
    pub entrypoint: Option<Vec<String>>,
    pub env: Vec<String>,
    pub cwd: String,
    /// `USER[:GROUP]`, names or numbers; empty is root.
    pub user: String,
    pub hostname: String,
    pub tty: bool,
    pub stdin_open: bool,
    pub labels: BTreeMap<String, String>,
    pub mounts: Vec<Mount>,
    /// Ids of the containers that it has mounts from.
    #[serde(default)]
    pub volumes_from: Vec<String>,
    pub read_only: bool,
    pub network: Network,
    #[serde(default)]
    pub network_options: NetworkOptions,
    pub init: bool,
    pub security: Security,
    pub limits: Limits,
    pub stop: Stop,
    pub restart: RestartPolicy,
    pub auto_remove: bool,
    /// Such as `80/tcp`; what the program says of itself.
    #[serde(default)]
    pub exposed_ports: Vec<String>,
    #[serde(default)]
    pub healthcheck: Option<Healthcheck>,
}

impl Config {
    /// What follows the entry point.
    pub fn command(&self) -> &[String] {
        let nr_entrypoint = self.entrypoint.as_ref().map_or(0, Vec::len);
        self.args.get(nr_entrypoint..).unwrap_or_default()
    }
}

/// Where the root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rootfs {
    /// An image, by its id and by the name that the user typed; changes go to the container's own
    /// upper directory.
    Image { image: Digest, name: String },
    /// A directory of the host.
    Directory { dir: PathBuf, access: RootfsAccess },
}

impl Rootfs {
    /// Do changes go to an upper directory of the container?
    pub fn is_layered(&self) -> bool {
        match self {
            Rootfs::Image { .. } => true,
            Rootfs::Directory { access, .. } => *access == RootfsAccess::Overlay,
        }
    }

    /// The id of the image that the container was made of.
    pub fn image(&self) -> Option<&Digest> {
        match self {
            Rootfs::Image { image, .. } => Some(image),
            Rootfs::Directory { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootfsAccess {
    /// Changes go to the directory itself.
    Direct,
    /// Changes go to the container's own upper directory.
    Overlay,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub kind: MountKind,
    pub target: PathBuf,
    pub options: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    Bind { source: PathBuf },
    Tmpfs,
    Volume(VolumeSource),
}

/// Which volume is mounted, and what becomes of it when the container is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSource {
    /// Empty until the container is made, if nobody named it.
    pub name: String,
    pub filling: Filling,
    /// For a volume that is not there yet.
    pub labels: BTreeMap<String, String>,
    /// For a volume that is not there yet.
    pub options: BTreeMap<String, String>,
}

/// Does an empty volume get what the root file system has in its place?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filling {
    FromRootfs,
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The host's own network namespace.
    Host,
    /// A network namespace with nothing but loopback.
    None,
    /// A network namespace with a device for each of these.
    Named(Vec<Connection>),
    /// The network namespace of the container with this id.
    Container(String),
}

impl Network {
    /// Has the container a network namespace to itself?
    pub fn is_own(&self) -> bool {
        matches!(self, Network::None | Network::Named(_))
    }
}

/// What the container shows to the world, and how it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkOptions {
    pub publish: Vec<Publish>,
    /// Ports that the program serves; published only if asked for.
    pub expose: Vec<Port>,
    /// Publish all exposed ports.
    pub publish_all: bool,
    pub resolver: Resolver,
    pub extra_hosts: Vec<ExtraHost>,
}

/// `--add-host`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    pub name: String,
    pub address: HostAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostAddress {
    Is(IpAddr),
    /// The host, as the container reaches it.
    Gateway,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Security {
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub privileged: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    Default,
    Unconfined,
    /// A profile of the user, as its text was when the container was created.
    Profile(serde_json::Value),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub memory_bytes: Option<i64>,
    pub nano_cpus: Option<i64>,
    pub pids: Option<i64>,
    pub ulimits: Vec<Ulimit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name as in `ulimit(1)`, such as `nofile`.
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub signal: i32,
    pub timeout_s: i64,
}

/// When the monitor starts the program again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    No,
    OnFailure { max_retries: Option<u32> },
    Always,
    UnlessStopped,
}

impl RestartPolicy {
    /// Shall a program that ended by itself with `code` run again, after `restarts` times?
    pub fn wants_restart(self, code: i32, restarts: u32) -> bool {
        match self {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure { max_retries } => {
                code != 0 && max_retries.is_none_or(|max| restarts < max)
            }
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_failure_counts_only_failures_up_to_its_limit() {
        let policy = RestartPolicy::OnFailure { max_retries: Some(2) };
        assert!(!policy.wants_restart(0, 0));
        assert!(policy.wants_restart(1, 1));
        assert!(!policy.wants_restart(1, 2));
        assert!(RestartPolicy::Always.wants_restart(0, 99));
    }
}
