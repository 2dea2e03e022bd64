//! The way to a registry: HTTPS, and plain HTTP where that is allowed.
//!
//! As Docker does it: a registry on this machine, and one for which the user has turned the
//! verification off, may show any certificate, or speak no TLS at all. Everybody else must prove
//! who they are.

use std::{path::Path, time::Duration};

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use reqwest::Response;
use rustls::pki_types::CertificateDer;

use crate::{
    certificates,
    error::{Error, Result},
    failure::{Asked, Shown},
    server::Server,
};

const USER_AGENT: &str = concat!("stasis/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// A token that does not tell when it ends is used until the registry refuses it.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// All names, and all addresses, which the star does not mean.
const ALL_HOSTS: &str = "*,0.0.0.0/0,::/0";

/// Whether a registry must show a certificate that is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsCheck {
    #[default]
    Verify,
    Skip,
}

/// What is moved: an upload may be silent for as long as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Download,
    Upload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Https,
    UncheckedHttps,
    Http,
}

/// A way to a registry that was seen to work.
#[derive(Debug)]
pub struct Transport {
    server: Server,
    scheme: Scheme,
    signers: Vec<CertificateDer<'static>>,
    http: reqwest::Client,
}

impl Transport {
    /// Finds the way, and gives the registry's answer to the first question ("is this a registry
    /// that speaks version 2?"; distribution-spec, "Determining Support").
    ///
    /// # Errors
    /// Those of the last way that may be taken.
    pub async fn find(
        server: &Server,
        check: TlsCheck,
        certificates: Option<&Path>,
    ) -> Result<(Transport, Response)> {
        let signers = certificates::signers_of(server, certificates)?;
        let mut schemes = schemes(server, check).iter();
        loop {
            let scheme = *schemes.next().expect("there is at least one, and the last one returns");
            let transport = Transport::build(server, scheme, &signers)?;
            match transport.ask_version().await {
                Ok(answer) => return Ok((transport, answer)),
                Err(error) if schemes.len() == 0 || !leads_on(&error) => return Err(error),
                Err(error) => tracing::debug!(%error, ?scheme, "no registry this way"),
            }
        }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The client for small questions, whose answers are bounded by us.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Whether anybody on the way can read along.
    pub fn is_plain(&self) -> bool {
        self.scheme == Scheme::Http
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.is_plain() { "http" } else { "https" };
        format!("{scheme}://{}/v2/{path}", self.server.host())
    }

    /// The client for blobs.
    ///
    /// # Errors
    /// [`Error::Invalid`] if TLS cannot be set up.
    pub fn blob_client(&self, direction: Direction) -> Result<oci_client::Client> {
        let plain = vec![self.server.host().to_owned()];
        let protocol = if self.is_plain() {
            ClientProtocol::HttpsExcept(plain)
        } else {
            ClientProtocol::Https
        };
        let certificate = |signer: &CertificateDer<'_>| Certificate {
            encoding: CertificateEncoding::Der,
            data: signer.to_vec(),
        };
        // A proxy that nobody may be asked through: the only way to say here that the proxies of
        // the environment do not count on this machine.
        let no_proxy = self.server.is_loopback().then(|| "http://localhost".to_owned());
        let config = ClientConfig {
            protocol,
            accept_invalid_certificates: self.scheme == Scheme::UncheckedHttps,
            extra_root_certificates: self.signers.iter().map(certificate).collect(),
            // One request for one blob: not every registry takes pieces.
            use_monolithic_push: true,
            default_token_expiration_secs: TOKEN_LIFE.as_secs() as usize,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: (direction == Direction::Download).then_some(SILENCE_TIMEOUT),
            user_agent: USER_AGENT,
            https_proxy: no_proxy.clone(),
            http_proxy: no_proxy.clone(),
            no_proxy: no_proxy.map(|_| ALL_HOSTS.to_owned()),
            ..ClientConfig::default()
        };
        // Not `Client::new`, which goes on with other settings if these do not work.
        oci_client::Client::try_from(config).map_err(|error| no_tls(&self.server, &error))
    }

    fn build(
        server: &Server,
        scheme: Scheme,
        signers: &[CertificateDer<'static>],
    ) -> Result<Transport> {
        let certificate = |signer: &CertificateDer<'_>| reqwest::Certificate::from_der(signer);
        let extra: std::result::Result<Vec<_>, _> = signers.iter().map(certificate).collect();
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            .tls_certs_merge(extra.map_err(|error| no_tls(server, &error))?)
            .tls_danger_accept_invalid_certs(scheme == Scheme::UncheckedHttps);
        if server.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| no_tls(server, &error))?;
        Ok(Transport { server: server.clone(), scheme, signers: signers.to_vec(), http })
    }

    async fn ask_version(&self) -> Result<Response> {
        let asked =
            Asked { registry: self.server.name(), object: "the interface", shown: Shown::Nothing };
        let question = self.http.get(self.url(""));
        question.send().await.map_err(|error| asked.broken(&error))
    }
}

fn schemes(server: &Server, check: TlsCheck) -> &'static [Scheme] {
    match check {
        TlsCheck::Verify if !server.is_loopback() => &[Scheme::Https],
        TlsCheck::Verify | TlsCheck::Skip => &[Scheme::UncheckedHttps, Scheme::Http],
    }
}

/// Whether the next way may lead where this one did not.
fn leads_on(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::Untrusted { .. })
}

fn no_tls(server: &Server, error: &dyn std::error::Error) -> Error {
    Error::Invalid(format!("cannot set up TLS for {}: {error}", server.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_here_or_wished_for_goes_without_tls() {
        let schemes = |name, check| schemes(&Server::parse(name).unwrap(), check);
        assert_eq!(schemes("r.example", TlsCheck::Verify), [Scheme::Https]);
        let open = [Scheme::UncheckedHttps, Scheme::Http];
        assert_eq!(schemes("r.example", TlsCheck::Skip), open);
        assert_eq!(schemes("localhost:5000", TlsCheck::Verify), open);
    }
}
