//! Why something with a registry could not be done, sorted by what a caller can do about it.

use std::{fmt::Display, io, path::PathBuf};

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of the registry leads nowhere.
    #[error("no such host: {host}")]
    NoSuchHost { host: String },
    /// Nobody answers there, or the connection breaks again and again.
    #[error("cannot reach {registry}: {reason}")]
    Unreachable { registry: String, reason: String },
    /// The registry shows a certificate that nobody whom we trust has signed.
    #[error("the certificate of {registry} is not trusted: {reason}")]
    Untrusted { registry: String, reason: String },
    /// The registry wants to know who asks.
    #[error("unauthorized: {registry} wants a user name and a password")]
    CredentialsWanted { registry: String },
    /// The registry does not believe what it was shown.
    #[error("unauthorized: {registry} does not accept these credentials")]
    CredentialsRefused { registry: String },
    /// The registry knows who asks, and says no.
    #[error("denied: {registry} does not allow it{}", explained(.message))]
    Denied { registry: String, message: String },
    /// No image by that tag or digest.
    #[error("manifest unknown: {reference}")]
    ManifestUnknown { reference: String },
    /// The registry lacks something that a manifest of its own names.
    #[error("{registry} does not have {object}")]
    Missing { registry: String, object: String },
    /// An image for other machines only.
    #[error("{reference} is not for {wanted}, but for {offered}")]
    NoPlatform { reference: String, wanted: String, offered: String },
    /// What came is not what was asked for.
    #[error("{object} from {registry} has the digest {found}, which is wrong")]
    WrongDigest { registry: String, object: String, found: String },
    /// What came is larger than it may be.
    #[error("{object} from {registry} is larger than {limit_bytes} bytes")]
    TooLarge { registry: String, object: String, limit_bytes: u64 },
    /// An answer that the distribution protocol does not have.
    #[error("{registry} answers {object} with {reason}")]
    Unexpected { registry: String, object: String, reason: String },
    /// The registry is out of order, or has had enough of us.
    #[error("{registry} answers {object} with status {status}{}", explained(.message))]
    Failing { registry: String, object: String, status: u16, message: String },
    /// A file with credentials is not what it should be.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// A credential helper failed.
    #[error("{helper} failed: {reason}")]
    Helper { helper: String, reason: String },
    /// The user's words cannot be followed.
    #[error("{0}")]
    Invalid(String),
    /// A system call failed.
    #[error("cannot {action} {object}: {source}")]
    Refused { action: &'static str, object: String, source: io::Error },
    #[error(transparent)]
    Store(#[from] stasis_store::Error),
    #[error(transparent)]
    Oci(#[from] stasis_oci::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

/// Adds to a kernel error what was tried on which object.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, object: impl Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, action: &'static str, object: impl Display) -> Result<T> {
        self.map_err(|error| Error::Refused {
            action,
            object: object.to_string(),
            source: error.into(),
        })
    }
}

/// What a registry says about its refusal, if it says anything.
fn explained(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
