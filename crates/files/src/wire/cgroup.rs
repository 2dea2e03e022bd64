//! Control groups.

/// `cgroup_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CgroupEntry {
    /// Sets of cgroup memberships used by tasks, without the dumping CRIU's own set.
    #[prost(message, repeated, tag = "1")]
    pub sets: Vec<CgSetEntry>,
    /// Directories to create, per hierarchy.
    #[prost(message, repeated, tag = "2")]
    pub controllers: Vec<CgControllerEntry>,
}

/// `cg_set_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CgSetEntry {
    /// Set id, referenced by `thread_core.cg_set`.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Membership in each hierarchy.
    #[prost(message, repeated, tag = "2")]
    pub ctls: Vec<CgMemberEntry>,
}

/// `cg_member_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CgMemberEntry {
    /// Controller list as in `/proc/<pid>/cgroup` ("cpu,cpuacct", "name=systemd"; "" = cgroup v2).
    #[prost(bytes = "vec", required, tag = "1")]
    pub name: Vec<u8>,
    /// Path within the hierarchy, starting with `/`.
    #[prost(bytes = "vec", required, tag = "2")]
    pub path: Vec<u8>,
    /// Length of the part of `path` that lies outside the task's cgroup namespace root.
    #[prost(uint32, optional, tag = "3")]
    pub cgns_prefix: Option<u32>,
}

/// `cg_controller_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CgControllerEntry {
    /// Controllers co-mounted in this hierarchy.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub cnames: Vec<Vec<u8>>,
    /// Directory trees.
    #[prost(message, repeated, tag = "2")]
    pub dirs: Vec<CgroupDirEntry>,
    /// cgroup v2 threaded / v1 semantics: threads may be in different cgroups.
    #[prost(bool, optional, tag = "3")]
    pub is_threaded: Option<bool>,
}

/// `cgroup_dir_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CgroupDirEntry {
    /// Name relative to the parent directory (the top one: path without leading `/`).
    #[prost(bytes = "vec", required, tag = "1")]
    pub dir_name: Vec<u8>,
    /// Sub-directories.
    #[prost(message, repeated, tag = "2")]
    pub children: Vec<CgroupDirEntry>,
    /// Control files with their values.
    #[prost(message, repeated, tag = "3")]
    pub properties: Vec<CgroupPropEntry>,
    /// Owner and mode of the directory.
    #[prost(message, optional, tag = "4")]
    pub dir_perms: Option<CgroupPerms>,
}

/// `cgroup_prop_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CgroupPropEntry {
    /// File name.
    #[prost(bytes = "vec", required, tag = "1")]
    pub name: Vec<u8>,
    /// Content without trailing newline.
    #[prost(bytes = "vec", required, tag = "2")]
    pub value: Vec<u8>,
    /// Owner and mode.
    #[prost(message, optional, tag = "3")]
    pub perms: Option<CgroupPerms>,
}

/// `cgroup_perms`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CgroupPerms {
    /// `st_mode`.
    #[prost(uint32, required, tag = "1")]
    pub mode: u32,
    /// Owner.
    #[prost(uint32, required, tag = "2")]
    pub uid: u32,
    /// Group.
    #[prost(uint32, required, tag = "3")]
    pub gid: u32,
}
