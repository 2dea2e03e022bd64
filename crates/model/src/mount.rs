//! What the tree lives in: namespaces, mounts, control groups.

use crate::SystemV;

/// Which namespaces are the tree's own, and must be made anew before it can be thawed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Kinds in which the root task is apart from the supervisor.
    pub own: Vec<NamespaceKind>,
    pub uts: Option<UtsNames>,
    pub mounts: Vec<Mount>,
    /// Objects of an IPC namespace of its own.
    pub system_v: SystemV,
    pub cgroups: Vec<CgroupSet>,
}

impl Namespaces {
    pub fn owns(&self, kind: NamespaceKind) -> bool {
        self.own.contains(&kind)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamespaceKind {
    Pid,
    Net,
    Ipc,
    Uts,
    Time,
    Mount,
    User,
    Cgroup,
}

impl NamespaceKind {
    /// All kinds, in the order in which CRIU numbers them.
    pub const ALL: [NamespaceKind; 8] = [
        NamespaceKind::Pid,
        NamespaceKind::Net,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Time,
        NamespaceKind::Mount,
        NamespaceKind::User,
        NamespaceKind::Cgroup,
    ];

    /// Name below `/proc/PID/ns`.
    pub fn proc_name(self) -> &'static str {
        match self {
            NamespaceKind::Pid => "pid",
            NamespaceKind::Net => "net",
            NamespaceKind::Ipc => "ipc",
            NamespaceKind::Uts => "uts",
            NamespaceKind::Time => "time",
            NamespaceKind::Mount => "mnt",
            NamespaceKind::User => "user",
            NamespaceKind::Cgroup => "cgroup",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UtsNames {
    pub node: Vec<u8>,
    pub domain: Vec<u8>,
}

/// One mount of the tree's mount namespace (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub id: i32,
    pub parent: i32,
    /// Device of the superblock, kernel encoding (major << 20 | minor).
    pub device: u32,
    pub root: Vec<u8>,
    pub mountpoint: Vec<u8>,
    pub filesystem: Vec<u8>,
    pub source: Vec<u8>,
    /// `MS_*` bits of the mount and of the superblock.
    pub flags: u32,
    pub superblock_flags: u32,
    pub options: Vec<u8>,
    pub peer_group: Option<u32>,
    pub master_group: Option<u32>,
    /// The mount is the host's and is handed over under this key at a restore.
    pub external: Option<Vec<u8>>,
    pub tmpfs: Option<Tmpfs>,
}

/// A tmpfs whose content is part of the checkpoint: a gzip-compressed tar stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// Names the stream.
    pub device: u32,
}

/// The control groups a task is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupSet {
    pub id: u32,
    pub members: Vec<Cgroup>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// As in proc_pid_cgroup(5): `cpu,cpuacct`, `name=systemd`, empty for version 2.
    pub controllers: Vec<u8>,
    pub path: Vec<u8>,
}
