//! What went wrong on the way to a registry, in our errors' words.

use oci_client::errors::{OciDistributionError, OciErrorCode};
use reqwest::StatusCode;
use stasis_oci::Digest;

use crate::{credentials::Credentials, error::Error, explanation::explanation};

/// A question: to whom, and what about. Errors name both.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub registry: &'a str,
    pub object: &'a str,
    pub shown: Shown,
}

/// Whether we have said who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Nothing,
    Credentials,
}

impl Shown {
    pub fn of(credentials: Option<&Credentials>) -> Shown {
        credentials.map_or(Shown::Nothing, |_| Shown::Credentials)
    }
}

impl Asked<'_> {
    /// An answer that says no.
    pub fn refused(&self, status: StatusCode, message: String) -> Error {
        match status {
            StatusCode::UNAUTHORIZED => self.unauthorized(),
            StatusCode::FORBIDDEN => Error::Denied { registry: self.registry.to_owned(), message },
            StatusCode::NOT_FOUND => Error::Missing {
                registry: self.registry.to_owned(),
                object: self.object.to_owned(),
            },
            status => Error::Failing {
                registry: self.registry.to_owned(),
                object: self.object.to_owned(),
                status: status.as_u16(),
                message,
            },
        }
    }

    pub fn unauthorized(&self) -> Error {
        let registry = self.registry.to_owned();
        match self.shown {
            Shown::Nothing => Error::CredentialsWanted { registry },
            Shown::Credentials => Error::CredentialsRefused { registry },
        }
    }

    /// What came is not what was asked for.
    pub fn wrong_digest(&self, found: &Digest) -> Error {
        Error::WrongDigest {
            registry: self.registry.to_owned(),
            object: self.object.to_owned(),
            found: found.to_string(),
        }
    }

    /// What came is larger than it may be.
    pub fn too_large(&self, limit_bytes: u64) -> Error {
        Error::TooLarge {
            registry: self.registry.to_owned(),
            object: self.object.to_owned(),
            limit_bytes,
        }
    }

    /// An answer that nobody understands.
    pub fn unexpected(&self, reason: impl ToString) -> Error {
        Error::Unexpected {
            registry: self.registry.to_owned(),
            object: self.object.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// No answer, or one that broke off.
    pub fn broken(&self, error: &reqwest::Error) -> Error {
        let causes = causes(error);
        let reason = causes.last().cloned().unwrap_or_else(|| error.to_string());
        let registry = self.registry.to_owned();
        let says = |word: &str| causes.iter().any(|cause| cause.contains(word));
        if says("dns error") {
            let host = error.url().and_then(|url| url.host_str()).unwrap_or(self.registry);
            return Error::NoSuchHost { host: host.to_owned() };
        }
        if says("invalid peer certificate") {
            return Error::Untrusted { registry, reason };
        }
        Error::Unreachable { registry, reason }
    }

    /// What the client for blobs says.
    pub fn of_client(&self, error: OciDistributionError) -> Error {
        use OciDistributionError as E;
        match error {
            E::RequestError(error) => self.broken(&error),
            E::IoError(error) => self.unreachable(&error),
            E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => self.unauthorized(),
            E::ServerError { code, message, .. } => match StatusCode::from_u16(code) {
                Ok(status) => self.refused(status, explanation(message.as_bytes())),
                Err(_) => self.unexpected(format!("status {code}")),
            },
            E::RegistryError { envelope, .. } => {
                let has = |codes: &[OciErrorCode]| {
                    envelope.errors.iter().any(|e| codes.contains(&e.code))
                };
                let messages = envelope.errors.iter().map(|error| error.message.as_str());
                let message = explanation(messages.collect::<Vec<_>>().join(", ").as_bytes());
                if has(&[OciErrorCode::Unauthorized]) {
                    self.unauthorized()
                } else if has(&[OciErrorCode::BlobUnknown, OciErrorCode::NameUnknown]) {
                    self.refused(StatusCode::NOT_FOUND, message)
                } else if has(&[OciErrorCode::Denied]) {
                    self.refused(StatusCode::FORBIDDEN, message)
                } else {
                    self.unexpected(message)
                }
            }
            other => self.unexpected(other),
        }
    }

    /// A stream that broke off.
    pub fn unreachable(&self, error: &dyn std::error::Error) -> Error {
        let reason = causes(error).pop().unwrap_or_else(|| error.to_string());
        Error::Unreachable { registry: self.registry.to_owned(), reason }
    }
}

/// What an error goes back to, the deepest last.
fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

impl Error {
    /// Whether somebody else, or a newer token, might be welcome.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Error::CredentialsWanted { .. } | Error::CredentialsRefused { .. })
    }

    /// Whether it may go better a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::Failing { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> =
        Asked { registry: "r.example", object: "the manifest a", shown: Shown::Nothing };

    fn check(status: u16, expect: &str) {
        let error = ASKED.refused(StatusCode::from_u16(status).unwrap(), "why".into());
        assert_eq!(error.to_string(), expect);
    }

    #[test]
    fn answers_in_the_users_words() {
        check(401, "unauthorized: r.example wants a user name and a password");
        check(403, "denied: r.example does not allow it: why");
        check(404, "r.example does not have the manifest a");
        check(503, "r.example answers the manifest a with status 503: why");
    }

    #[test]
    fn some_errors_pass() {
        let is_passing = |status| {
            ASKED.refused(StatusCode::from_u16(status).unwrap(), String::new()).is_passing()
        };
        assert!(is_passing(500) && is_passing(503) && is_passing(429));
        assert!(!is_passing(400) && !is_passing(401) && !is_passing(404));
    }
}
