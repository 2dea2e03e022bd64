//! AppArmor policies.

/// `apparmor_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ApparmorEntry {
    /// Namespaces with their policies.
    #[prost(message, repeated, tag = "1")]
    pub namespaces: Vec<AaNamespace>,
}

/// `aa_namespace`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AaNamespace {
    /// Name.
    #[prost(bytes = "vec", required, tag = "1")]
    pub name: Vec<u8>,
    /// Profiles.
    #[prost(message, repeated, tag = "2")]
    pub policies: Vec<AaPolicy>,
    /// Nested namespaces.
    #[prost(message, repeated, tag = "3")]
    pub namespaces: Vec<AaNamespace>,
}

/// `aa_policy`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AaPolicy {
    /// Name.
    #[prost(bytes = "vec", required, tag = "1")]
    pub name: Vec<u8>,
    /// Binary policy (raw_data).
    #[prost(bytes = "vec", required, tag = "2")]
    pub blob: Vec<u8>,
}
