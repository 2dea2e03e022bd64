//! How a registry is called: by users, in files with credentials, and on the network.

use std::net::IpAddr;

use crate::error::{Error, Result};

/// The registry that is meant when none is named.
const DOCKER_HUB: &str = "docker.io";

/// The other names of that registry: where its interface is, and where that once was.
const HUB_HOSTS: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// The host that serves Docker Hub's interface.
const HUB_INTERFACE: &str = "index.docker.io";

/// The name under which Docker keeps the credentials of Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// A registry: a host, and a port if it is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server(String);

impl Server {
    /// Takes a registry's name as users and files with credentials write it: with or without
    /// `https://` in front and a path behind. No name at all is Docker Hub.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not the name of a host.
    pub fn parse(text: &str) -> Result<Server> {
        let name = text.split_once("://").map_or(text, |(_, rest)| rest);
        let name = name.split('/').next().unwrap_or_default();
        let is_odd = |c: char| !(c.is_ascii_alphanumeric() || "-._:[]".contains(c));
        if name.contains(is_odd) || (name.is_empty() && !text.is_empty()) {
            return Err(Error::Invalid(format!("{text:?} is not the name of a registry")));
        }
        let name = name.to_ascii_lowercase();
        let is_hub = name.is_empty() || HUB_HOSTS.contains(&name.as_str());
        Ok(Server(if is_hub { DOCKER_HUB.to_owned() } else { name }))
    }

    /// The name that users know.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Host and port that serve the interface.
    pub fn host(&self) -> &str {
        if self.0 == DOCKER_HUB { HUB_INTERFACE } else { &self.0 }
    }

    /// The name in files with credentials, and towards credential helpers.
    pub fn key(&self) -> &str {
        if self.0 == DOCKER_HUB { HUB_KEY } else { &self.0 }
    }

    /// Whether it is on this machine, where nobody listens on the wire.
    pub fn is_loopback(&self) -> bool {
        let host = host_without_port(&self.0);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// `[::1]:5000` is `::1`, `a:5000` is `a`.
fn host_without_port(name: &str) -> &str {
    match name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => name.split(':').next().unwrap_or(name),
    }
}

/// What credentials are asked for: a registry, or a repository in it.
#[derive(Clone, Debug)]
pub struct Scope {
    server: Server,
    repository: Option<String>,
}

impl Scope {
    pub fn server_wide(server: &Server) -> Scope {
        Scope { server: server.clone(), repository: None }
    }

    pub fn repository(server: &Server, repository: &str) -> Scope {
        Scope { server: server.clone(), repository: Some(repository.to_owned()) }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Names that an entry for this may have, the narrowest first: Podman keeps credentials for
    /// parts of a registry too (containers-auth.json(5)).
    pub fn names(&self) -> Vec<String> {
        let mut path = self.repository.as_deref().unwrap_or_default();
        let mut names = Vec::new();
        while !path.is_empty() {
            names.push(format!("{}/{path}", self.server.name()));
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        names.push(self.server.name().to_owned());
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_registries() {
        let name = |text: &str| Server::parse(text).unwrap().name().to_owned();
        assert_eq!(name(""), "docker.io");
        assert_eq!(name("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(name("registry-1.docker.io"), "docker.io");
        assert_eq!(name("http://Registry.Example:5000/v2/"), "registry.example:5000");
        assert!(Server::parse("a b").is_err());
        assert!(Server::parse("https://").is_err());
        assert!(Server::parse("user@host").is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_name_is_a_name_again(text in "[ -~]{0,40}") {
            if let Ok(server) = Server::parse(&text) {
                assert_eq!(Server::parse(server.name()).unwrap(), server);
                assert_eq!(Server::parse(server.key()).unwrap(), server);
                server.is_loopback();
            }
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        let is_loopback = |text: &str| Server::parse(text).unwrap().is_loopback();
        assert!(is_loopback("localhost:5000") && is_loopback("localhost"));
        assert!(is_loopback("127.0.0.9:1") && is_loopback("[::1]:5000"));
        assert!(!is_loopback("localhost.example") && !is_loopback("128.0.0.1:5000"));
        assert!(!is_loopback("[::2]:5000"));
    }

    #[test]
    fn the_narrowest_name_comes_first() {
        let server = Server::parse("r.example").unwrap();
        let names = Scope::repository(&server, "a/b").names();
        assert_eq!(names, ["r.example/a/b", "r.example/a", "r.example"]);
        assert_eq!(Scope::server_wide(&server).names(), ["r.example"]);
    }
}
