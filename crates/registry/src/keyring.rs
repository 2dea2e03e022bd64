//! Where it is written down who we are to a registry.
//!
//! Docker and Podman keep the names and passwords of `login` in files of one form
//! (docker-login(1), containers-auth.json(5)). All that exist are asked, the one that `login`
//! writes to first.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{
    auth_file::{self, AuthFile},
    credential_helper::Helper,
    credentials::Credentials,
    error::Result,
    server::{Scope, Server},
};

/// The files that may hold credentials, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    /// The first one is written to.
    files: Vec<PathBuf>,
}

impl Keyring {
    /// The files that `--authfile` and the environment name.
    ///
    /// `--authfile` stands alone, as does `REGISTRY_AUTH_FILE`. Else it is Docker's
    /// `config.json` in `DOCKER_CONFIG` or `~/.docker`, then Podman's `containers/auth.json` in
    /// `XDG_RUNTIME_DIR` (or `/run/containers/UID` without one) and in `XDG_CONFIG_HOME`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if the environment names no place at all.
    pub fn locate(
        authfile: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Keyring> {
        let directory = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(file) = authfile.map(PathBuf::from).or_else(|| directory("REGISTRY_AUTH_FILE"))
        {
            return Ok(Keyring { files: vec![file] });
        }
        let home = directory("HOME");
        let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let docker = directory("DOCKER_CONFIG").or_else(|| below_home(".docker"));
        let runtime = directory("XDG_RUNTIME_DIR").map(|dir| dir.join("containers"));
        let user = rustix::process::geteuid().as_raw();
        let runtime = runtime.unwrap_or_else(|| format!("/run/containers/{user}").into());
        let config = directory("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let files = docker.map(|dir| dir.join("config.json")).into_iter();
        let files = files.chain([runtime.join("auth.json")]);
        let files = files.chain(config.map(|dir| dir.join("containers/auth.json")));
        Ok(Keyring { files: files.collect() })
    }

    /// The file that `login` writes to.
    pub fn first_file(&self) -> &Path {
        &self.files[0]
    }

    /// Looks up who we are to the owner of `scope`; `None` if no file and no helper knows.
    ///
    /// The most specific entry of a file wins, a registry's own helper over the file's entries.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] and [`crate::Error::Refused`] of a file, [`crate::Error::Helper`].
    pub fn find(&self, scope: &Scope) -> Result<Option<Credentials>> {
        for path in &self.files {
            let file = AuthFile::read(path)?;
            let known = match file.helper(scope.server())? {
                Some(helper) => helper.get(scope.server())?,
                None => None,
            };
            if let Some(credentials) = known.or(file.credentials(scope)?) {
                tracing::debug!(file = %path.display(), ?credentials, "credentials found");
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }

    /// Writes down who we are to a registry; tells where.
    ///
    /// # Errors
    /// As [`Keyring::find`].
    pub fn keep(&self, server: &Server, credentials: &Credentials) -> Result<Place> {
        let path = self.first_file();
        match AuthFile::read(path)?.helper(server)? {
            Some(helper) => {
                helper.store(server, credentials)?;
                auth_file::change(path, |file| file.note_helped(server))?;
                Ok(Place::Helper(helper))
            }
            None => {
                auth_file::change(path, |file| file.set(server, credentials))?;
                Ok(Place::File(path.to_owned()))
            }
        }
    }

    /// Forgets who we are to a registry; tells whether anything was known.
    ///
    /// # Errors
    /// As [`Keyring::find`].
    pub fn forget(&self, server: &Server) -> Result<Found> {
        let mut found = Found::No;
        for path in &self.files {
            let file = AuthFile::read(path)?;
            if let Some(helper) = file.helper(server)?
                && helper.get(server)?.is_some()
            {
                helper.erase(server)?;
                found = Found::Yes;
            }
            if file.has(server) {
                auth_file::change(path, |file| file.remove(server))?;
                found = Found::Yes;
            }
        }
        Ok(found)
    }

    /// All registries that one of the files has an entry for.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] and [`crate::Error::Refused`] of a file.
    pub fn servers(&self) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        for path in &self.files {
            servers.extend(AuthFile::read(path)?.servers());
        }
        servers.sort();
        servers.dedup();
        Ok(servers)
    }
}

/// Whether there was something to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Yes,
    No,
}

/// Where credentials were written to.
#[derive(Debug)]
pub enum Place {
    /// A file, in which they stand as good as in the clear.
    File(PathBuf),
    Helper(Helper),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authfile: Option<&str>, variables: &[(&str, &str)], expect: &[&str]) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let keyring = Keyring::locate(authfile.map(Path::new), variable).unwrap();
        assert_eq!(keyring.files, expect.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn an_explicit_file_stands_alone() {
        check(Some("/a"), &[("REGISTRY_AUTH_FILE", "/b"), ("HOME", "/h")], &["/a"]);
        check(None, &[("REGISTRY_AUTH_FILE", "/b"), ("HOME", "/h")], &["/b"]);
    }

    #[test]
    fn dockers_file_comes_before_podmans() {
        check(
            None,
            &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")],
            &[
                "/h/.docker/config.json",
                "/r/containers/auth.json",
                "/h/.config/containers/auth.json",
            ],
        );
        check(
            None,
            &[
                ("HOME", "/h"),
                ("DOCKER_CONFIG", "/d"),
                ("XDG_RUNTIME_DIR", "/r"),
                ("XDG_CONFIG_HOME", "/c"),
            ],
            &["/d/config.json", "/r/containers/auth.json", "/c/containers/auth.json"],
        );
    }
}
