//! The answer to a registry's challenge: a name and a password, or a token that a token server
//! gives for them (token authentication and OAuth2 specifications of the distribution project).

use std::fmt;

use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use crate::{
    body,
    challenge::Challenge,
    credentials::Credentials,
    error::Result,
    failure::{Asked, Shown},
    transport::Transport,
};

/// The name of this program towards token servers.
const CLIENT: &str = "stasis";
const TOKEN_LIMIT_BYTES: u64 = 1 << 20;

/// What goes into the header `Authorization`.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    Nothing,
    Basic { user: String, password: String },
    Bearer(String),
}

/// Secrets do not get into logs.
impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Authorization::Nothing => "Nothing",
            Authorization::Basic { .. } => "Basic(…)",
            Authorization::Bearer(_) => "Bearer(…)",
        })
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Authorization {
    /// Answers a challenge; `scopes` tells what shall be done, such as `repository:a/b:pull`.
    ///
    /// # Errors
    /// [`CredentialsWanted`](crate::Error::CredentialsWanted) if there is nothing to show,
    /// [`CredentialsRefused`](crate::Error::CredentialsRefused) if the token server does not believe
    /// it; those of the connection.
    pub async fn obtain(
        transport: &Transport,
        challenge: &Challenge,
        credentials: Option<&Credentials>,
        scopes: &[String],
    ) -> Result<Authorization> {
        let asked = Asked {
            registry: transport.server().name(),
            object: "the request for a token",
            shown: Shown::of(credentials),
        };
        match (challenge, credentials) {
            (_, Some(Credentials::RegistryToken(token))) => {
                Ok(Authorization::Bearer(token.clone()))
            }
            (Challenge::Basic, Some(Credentials::Password { user, password })) => {
                Ok(Authorization::Basic { user: user.clone(), password: password.clone() })
            }
            (Challenge::Basic, Some(Credentials::IdentityToken(_)) | None) => {
                Err(asked.unauthorized())
            }
            (Challenge::Bearer { realm, service }, _) => {
                let realm = checked_realm(realm, transport, &asked)?;
                let question = question(transport, realm, service.as_deref(), credentials, scopes);
                fetch_token(question, &asked).await.map(Authorization::Bearer)
            }
        }
    }

    pub fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Authorization::Nothing => request,
            Authorization::Basic { user, password } => request.basic_auth(user, Some(password)),
            Authorization::Bearer(token) => request.bearer_auth(token),
        }
    }
}

/// The registry names the token server; what we show there must not be readable on the way unless
/// the way to the registry itself is.
fn checked_realm(realm: &str, transport: &Transport, asked: &Asked<'_>) -> Result<Url> {
    let realm = Url::parse(realm).map_err(|error| asked.unexpected(error))?;
    match realm.scheme() {
        "https" => Ok(realm),
        "http" if transport.is_plain() => Ok(realm),
        _ => Err(asked.unexpected(format!("a token server that is not safe to ask: {realm}"))),
    }
}

fn question(
    transport: &Transport,
    realm: Url,
    service: Option<&str>,
    credentials: Option<&Credentials>,
    scopes: &[String],
) -> RequestBuilder {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    fields.extend(service.map(|service| ("service", service)));
    match credentials {
        Some(Credentials::IdentityToken(token)) => {
            let scope = scopes.join(" ");
            fields.extend([("grant_type", "refresh_token"), ("client_id", CLIENT)]);
            fields.extend([("refresh_token", token.as_str()), ("scope", scope.as_str())]);
            transport.http().post(realm).form(&fields)
        }
        Some(Credentials::Password { user, password }) => {
            fields.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
            fields.push(("account", user));
            transport.http().get(realm).query(&fields).basic_auth(user, Some(password))
        }
        Some(Credentials::RegistryToken(_)) | None => {
            fields.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
            transport.http().get(realm).query(&fields)
        }
    }
}

async fn fetch_token(question: RequestBuilder, asked: &Asked<'_>) -> Result<String> {
    let response = question.send().await.map_err(|error| asked.broken(&error))?;
    // OAuth2 says 400 for a token that is not accepted (RFC 6749, section 5.2).
    if response.status() == StatusCode::BAD_REQUEST && asked.shown == Shown::Credentials {
        return Err(asked.unauthorized());
    }
    let response = asked.check(response).await?;
    let answer: Answer = body::read_json(response, asked, TOKEN_LIMIT_BYTES).await?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    token.ok_or_else(|| asked.unexpected("no token"))
}
