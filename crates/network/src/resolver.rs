//! The file `resolv.conf` of a container (resolv.conf(5)).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What the user asked for; where nothing was asked for, the host's file speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// Whose loopback addresses the container sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// Those of the host: servers there are reached.
    Hosts,
    /// Its own: servers there would be looked for in the container.
    Own,
}

impl Resolver {
    /// The container's file, made of the host's.
    pub fn render(&self, host: &str, loopback: Loopback) -> String {
        let kept = host.lines().filter(|line| self.keeps(line, loopback));
        let mut lines: Vec<String> = kept.map(str::to_owned).collect();
        lines.extend(self.servers.iter().map(|server| format!("nameserver {server}")));
        // A single dot clears the list, as with Docker.
        let search: Vec<&str> =
            self.search.iter().map(String::as_str).filter(|d| *d != ".").collect();
        if !search.is_empty() {
            lines.push(format!("search {}", search.join(" ")));
        }
        if !self.options.is_empty() {
            lines.push(format!("options {}", self.options.join(" ")));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn keeps(&self, line: &str, loopback: Loopback) -> bool {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let is_own = words.next().is_some_and(is_loopback);
                self.servers.is_empty() && (loopback == Loopback::Hosts || !is_own)
            }
            Some("search" | "domain") => self.search.is_empty(),
            Some("options") => self.options.is_empty(),
            _ => true,
        }
    }
}

fn is_loopback(text: &str) -> bool {
    // Link-local servers bear the name of a device of the host, which means nothing inside.
    text.contains('%') || text.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Does the file name a server?
pub fn has_server(file: &str) -> bool {
    file.lines().any(|line| line.split_whitespace().next() == Some("nameserver"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str =
        "# text\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a b\noptions edns0\n";

    #[test]
    fn servers_of_the_hosts_loopback_are_left_out() {
        let text = Resolver::default().render(HOST, Loopback::Own);
        assert_eq!(text, "# text\nnameserver 9.9.9.9\nsearch a b\noptions edns0\n");
        assert_eq!(Resolver::default().render(HOST, Loopback::Hosts), HOST);
        assert!(!has_server("# nameserver 9.9.9.9\n"));
    }

    #[test]
    fn what_was_asked_for_takes_the_place() {
        let resolver = Resolver {
            servers: vec!["8.8.8.8".parse().unwrap()],
            search: vec![".".into()],
            options: vec!["ndots:2".into()],
        };
        let text = resolver.render(HOST, Loopback::Own);
        assert_eq!(text, "# text\nnameserver 8.8.8.8\noptions ndots:2\n");
    }
}
