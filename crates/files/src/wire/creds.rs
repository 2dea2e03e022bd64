//! Credentials.

/// `creds_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CredsEntry {
    /// Real uid.
    #[prost(uint32, required, tag = "1")]
    pub uid: u32,
    /// Real gid.
    #[prost(uint32, required, tag = "2")]
    pub gid: u32,
    /// Effective uid.
    #[prost(uint32, required, tag = "3")]
    pub euid: u32,
    /// Effective gid.
    #[prost(uint32, required, tag = "4")]
    pub egid: u32,
    /// Saved uid.
    #[prost(uint32, required, tag = "5")]
    pub suid: u32,
    /// Saved gid.
    #[prost(uint32, required, tag = "6")]
    pub sgid: u32,
    /// Filesystem uid.
    #[prost(uint32, required, tag = "7")]
    pub fsuid: u32,
    /// Filesystem gid.
    #[prost(uint32, required, tag = "8")]
    pub fsgid: u32,
    /// Inheritable set: two 32-bit words, low word first.
    #[prost(uint32, repeated, packed = "false", tag = "9")]
    pub cap_inh: Vec<u32>,
    /// Permitted set, two words.
    #[prost(uint32, repeated, packed = "false", tag = "10")]
    pub cap_prm: Vec<u32>,
    /// Effective set, two words.
    #[prost(uint32, repeated, packed = "false", tag = "11")]
    pub cap_eff: Vec<u32>,
    /// Bounding set, two words.
    #[prost(uint32, repeated, packed = "false", tag = "12")]
    pub cap_bnd: Vec<u32>,
    /// PR_SET_SECUREBITS value.
    #[prost(uint32, required, tag = "13")]
    pub secbits: u32,
    /// Supplementary groups.
    #[prost(uint32, repeated, packed = "false", tag = "14")]
    pub groups: Vec<u32>,
    /// LSM label/profile.
    #[prost(bytes = "vec", optional, tag = "15")]
    pub lsm_profile: Option<Vec<u8>>,
    /// SELinux socket-creation context.
    #[prost(bytes = "vec", optional, tag = "16")]
    pub lsm_sockcreate: Option<Vec<u8>>,
    /// Unused.
    #[prost(bytes = "vec", optional, tag = "17")]
    pub apparmor_data: Option<Vec<u8>>,
    /// 1 if PR_SET_NO_NEW_PRIVS is set.
    #[prost(uint32, optional, tag = "18")]
    pub no_new_privs: Option<u32>,
    /// Ambient set, two words.
    #[prost(uint32, repeated, packed = "false", tag = "19")]
    pub cap_amb: Vec<u32>,
    /// Extension: there are no supplementary groups, see [`super::extension`].
    #[prost(bool, optional, tag = "1000")]
    pub no_groups: Option<bool>,
}
