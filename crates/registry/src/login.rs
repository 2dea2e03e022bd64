//! Logging in to a registry and out of it: credentials are shown to it, and kept if it likes them.

use reqwest::StatusCode;

use crate::{
    authorization::Authorization,
    certificates,
    challenge::Challenge,
    credentials::Credentials,
    error::Result,
    failure::{Asked, Shown},
    keyring::Place,
    runtime::EventLoop,
    server::{Scope, Server},
    session::Access,
    transport::Transport,
};

/// Shows credentials to a registry and keeps them; tells where.
///
/// # Errors
/// [`CredentialsRefused`](crate::Error::CredentialsRefused) if the registry does not accept them; those of the
/// connection, of the credentials' files and helpers.
pub fn login(server: &Server, credentials: &Credentials, access: &Access) -> Result<Place> {
    verify(server, credentials, access)?;
    access.keyring.keep(server, credentials)
}

/// Shows the credentials that are kept to the registry once more; `None` if there are none.
///
/// # Errors
/// As [`login`].
pub fn login_again(server: &Server, access: &Access) -> Result<Option<Credentials>> {
    let kept = access.keyring.find(&Scope::server_wide(server))?;
    kept.map(|credentials| verify(server, &credentials, access).map(|()| credentials)).transpose()
}

fn verify(server: &Server, credentials: &Credentials, access: &Access) -> Result<()> {
    certificates::prepare_process(&access.scratch)?;
    EventLoop::new()?.run(async {
        let asked =
            Asked { registry: server.name(), object: "the login", shown: Shown::Credentials };
        let certificates = access.certificates.as_deref();
        let (transport, answer) = Transport::find(server, access.tls, certificates).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            // It asks nobody, or only where something is private.
            return asked.check(answer).await.map(drop);
        }
        let challenge = Challenge::of(answer.headers()).ok_or_else(|| asked.unauthorized())?;
        let shown = Authorization::obtain(&transport, &challenge, Some(credentials), &[]).await?;
        let question = shown.apply(transport.http().get(transport.url("")));
        let answer = question.send().await.map_err(|error| asked.broken(&error))?;
        asked.check(answer).await.map(drop)
    })
}
