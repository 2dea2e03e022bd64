//! How the user wants registries to be reached, and what he reads when that fails.

use stasis_container::Home;
use stasis_registry::{Access, Credentials, Error, Keyring, TlsCheck};

use crate::{
    args::registry::AccessArgs,
    failure::{Failure, Result},
};

/// How the user wants registries to be reached; `credentials` are `USER:PASSWORD`.
pub fn access(home: &Home, args: &AccessArgs, credentials: Option<&str>) -> Result<Access> {
    Ok(Access {
        tls: if args.tls_verify { TlsCheck::Verify } else { TlsCheck::Skip },
        certificates: args.cert_dir.clone(),
        credentials: credentials.map(Credentials::parse).transpose()?,
        keyring: Keyring::locate(args.authfile.as_deref(), |name| std::env::var_os(name))?,
        scratch: home.runroot().to_owned(),
    })
}

/// What the user reads: what was tried, why it failed, and what to do.
pub fn failure(what: String, error: Error) -> Failure {
    let hint = hint(&error);
    Failure { cause: Some(error.to_string()), hint, ..Failure::new(what) }
}

fn hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::NoSuchHost { .. } => {
            "look for a mistake in the name; a name without a dot or a port belongs to docker.io"
                .into()
        }
        Error::Unreachable { .. } => {
            "see that the registry runs and the network leads there".into()
        }
        Error::Untrusted { registry, .. } => format!(
            "put the certificate of its signer into /etc/containers/certs.d/{registry}/ca.crt, or \
             give --tls-verify=false"
        ),
        Error::CredentialsRefused { registry } => format!(
            "the repository may not exist, or be somebody else's; or log in again: stasis login \
             {registry}"
        ),
        Error::CredentialsWanted { registry } => format!(
            "the repository may not exist, or be private; then log in: stasis login {registry}"
        ),
        Error::Denied { registry, .. } => {
            format!("log in as somebody who may: stasis login {registry}")
        }
        Error::ManifestUnknown { .. } => "look for a mistake in the name or the tag".into(),
        Error::Store(stasis_store::Error::NoSuchImage(_)) => {
            "stasis images lists the images that are here, stasis tag gives one a name".into()
        }
        Error::Failing { status: 429, .. } => "wait a while, or log in".into(),
        _ => return None,
    })
}

/// Whether a name has neither tag nor digest. A colon before the last slash belongs to a port.
pub fn is_tag_left_out(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    !last.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_ports_are_told_apart() {
        assert!(is_tag_left_out("busybox") && is_tag_left_out("localhost:5000/a"));
        assert!(!is_tag_left_out("busybox:1") && !is_tag_left_out("localhost:5000/a:1"));
        assert!(!is_tag_left_out("a/b@sha256:0"));
    }
}
