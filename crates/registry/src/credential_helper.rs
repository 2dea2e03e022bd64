//! Programs that keep credentials elsewhere than in a file: `docker-credential-NAME`.
//!
//! Such a program takes a verb as its argument, reads the name of a registry (or all about an
//! entry) from standard input and answers with JSON on standard output. One that fails tells why
//! on standard output as well.

use std::{
    fmt,
    io::{Read, Write},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{
    credentials::Credentials,
    error::{Error, Result},
    server::Server,
};

/// What helpers call the user when the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// How helpers begin to say that they do not know a registry.
const NOT_FOUND: &str = "credentials not found";

/// No honest answer is longer.
const LIMIT_BYTES: u64 = 1 << 20;

/// A program that keeps credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    program: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default, rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper {
    /// The helper that a file with credentials names.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name leads out of the directories of programs.
    pub fn named(name: &str) -> Result<Helper> {
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(Error::Invalid(format!("{name:?} is not the name of a credential helper")));
        }
        Ok(Helper { program: format!("docker-credential-{name}") })
    }

    /// Asks for the credentials of a registry; `None` if the helper has none.
    ///
    /// # Errors
    /// [`Error::Helper`] if it cannot be started, fails, or says what nobody understands.
    pub fn get(&self, server: &Server) -> Result<Option<Credentials>> {
        let answer = self.ask("get", server.key().as_bytes())?;
        let Answer::Done(answer) = answer else { return Ok(None) };
        let entry: Entry =
            serde_json::from_slice(&answer).map_err(|error| self.failure(error.to_string()))?;
        Ok(Some(match entry.username.as_str() {
            TOKEN_USER => Credentials::IdentityToken(entry.secret),
            _ => Credentials::Password { user: entry.username, password: entry.secret },
        }))
    }

    /// Gives the credentials of a registry to the helper.
    ///
    /// # Errors
    /// [`Error::Helper`].
    pub fn store(&self, server: &Server, credentials: &Credentials) -> Result<()> {
        let (username, secret) = match credentials {
            Credentials::Password { user, password } => (user.as_str(), password),
            Credentials::IdentityToken(token) => (TOKEN_USER, token),
            Credentials::RegistryToken(_) => {
                return Err(self.failure("registry tokens are not for helpers".into()));
            }
        };
        let entry = Entry {
            server_url: server.key().to_owned(),
            username: username.to_owned(),
            secret: secret.clone(),
        };
        let entry = serde_json::to_vec(&entry).expect("three texts become JSON");
        self.ask("store", &entry).map(drop)
    }

    /// Lets the helper forget a registry.
    ///
    /// # Errors
    /// [`Error::Helper`].
    pub fn erase(&self, server: &Server) -> Result<()> {
        self.ask("erase", server.key().as_bytes()).map(drop)
    }

    fn ask(&self, verb: &str, question: &[u8]) -> Result<Answer> {
        let mut child = Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| self.failure(error.to_string()))?;
        let mut answer = Vec::new();
        let mut stdin = child.stdin.take().expect("it was asked for");
        // One that does not read its question may still have an answer.
        let _ = stdin.write_all(question);
        drop(stdin);
        let stdout = child.stdout.take().expect("it was asked for");
        let read = stdout.take(LIMIT_BYTES).read_to_end(&mut answer);
        let status = child.wait().map_err(|error| self.failure(error.to_string()))?;
        read.map_err(|error| self.failure(error.to_string()))?;
        let text = String::from_utf8_lossy(&answer);
        match text.trim() {
            _ if status.success() => Ok(Answer::Done(answer)),
            text if text.starts_with(NOT_FOUND) => Ok(Answer::NotFound),
            "" => Err(self.failure(status.to_string())),
            text => Err(self.failure(text.to_owned())),
        }
    }

    fn failure(&self, reason: String) -> Error {
        Error::Helper { helper: self.program.clone(), reason }
    }
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)
    }
}

enum Answer {
    Done(Vec<u8>),
    NotFound,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        assert!(Helper::named("../x").is_err());
        assert!(Helper::named("").is_err());
        assert!(Helper::named("secretservice").is_ok());
    }

    #[test]
    fn a_missing_helper_is_named() {
        let error = Helper::named("does-not-exist-here").unwrap();
        let error = error.get(&Server::parse("r.example").unwrap()).unwrap_err();
        assert!(error.to_string().contains("docker-credential-does-not-exist-here"), "{error}");
    }
}
