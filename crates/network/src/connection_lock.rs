//! Keeping TCP segments away from sockets that must not hear anything for a while.
//!
//! The rules stand in a table that has an owner (`NFT_TABLE_F_OWNER`, Linux 5.12): the kernel removes it
//! with the netlink socket that made it, so nothing is left of whoever is killed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
};

use ipnet::IpNet;
use netlink_packet_netfilter::nftables::InetHookNumber;

use crate::{
    error::{Context, Error, Result},
    namespace::within,
    netlink::Netlink,
    nftables::{Chain, ChainHook, Rule, disown_table, own_table, replace_table, tables},
};

/// Before anything else that sees segments, such as the tracking of connections.
const FIRST: i32 = -400;

/// Connections of a network namespace.
#[derive(Clone, Copy, Debug)]
pub enum Segments<'a> {
    All,
    /// Of these connections: local and remote end.
    Of(&'a [(SocketAddr, SocketAddr)]),
}

/// TCP segments are dropped as long as it lives.
pub struct ConnectionLock {
    /// There until it is dropped.
    owner: Option<Netlink>,
    table: String,
}

impl ConnectionLock {
    /// Drops segments on their way into and out of the sockets of a network namespace, but for those
    /// that bear the mark. Of all segments, resets may go out: who holds the lock keeps sockets that somebody
    /// goes on with from sending one, and the peers of others shall hear it.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel, for instance because it has no nftables.
    pub fn new(
        namespace: BorrowedFd<'_>,
        segments: Segments<'_>,
        passing_mark: u32,
    ) -> Result<ConnectionLock> {
        let chains = chains(segments, passing_mark);
        within(namespace, || {
            let mut owner = Netlink::netfilter().context("open", "a packet filter socket")?;
            let inode = owner.inode().context("look at", "a socket")?;
            let table = format!("stasis-lock-{inode}");
            own_table(&mut owner, &table, &chains).map_err(explained)?;
            Ok(ConnectionLock { owner: Some(owner), table })
        })
    }
}

impl Drop for ConnectionLock {
    /// The kernel removes the table with the socket, but lets who closes that wait until nobody reads the
    /// table any more: some ten milliseconds for which a tree would stand still. Our word takes 50 µs,
    /// and then others may wait for the socket.
    fn drop(&mut self) {
        let Some(mut owner) = self.owner.take() else { return };
        if disown_table(&mut owner, &self.table).is_ok() {
            // Without a thread it is closed here and now.
            let _ = std::thread::Builder::new().spawn(move || drop(owner));
        }
    }
}

/// The same with a table that lasts until [`lift_lock`], or the host's end.
///
/// # Errors
/// As [`ConnectionLock::new`].
pub fn lock_lastingly(
    namespace: BorrowedFd<'_>,
    name: &str,
    segments: Segments<'_>,
    passing_mark: u32,
) -> Result<()> {
    let chains = chains(segments, passing_mark);
    within(namespace, || replace_table(name, &chains).map_err(explained))
}

/// Removes the table; that there is none is fine.
///
/// # Errors
/// [`Error::Refused`] by the kernel.
pub fn lift_lock(namespace: BorrowedFd<'_>, name: &str) -> Result<()> {
    within(namespace, || match tables()?.iter().any(|table| table == name) {
        true => replace_table(name, &[]),
        false => Ok(()),
    })
}

fn explained(error: Error) -> Error {
    match error {
        Error::Refused { source, .. } if lacks_nftables(&source) => Error::invalid(format!(
            "this kernel has no nftables with tables that have an owner (Linux 5.12, \
             CONFIG_NF_TABLES_INET): {source}"
        )),
        other => other,
    }
}

fn lacks_nftables(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::OPNOTSUPP, Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT, Errno::INVAL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn chains(segments: Segments<'_>, passing_mark: u32) -> Vec<Chain> {
    let rules = |rule: fn(&(SocketAddr, SocketAddr)) -> Rule| {
        let mut rules = vec![Rule::new().marked(passing_mark).accept()];
        match segments {
            Segments::All => rules.push(Rule::new().of_tcp().drop()),
            Segments::Of(connections) => rules.extend(connections.iter().map(rule)),
        }
        rules
    };
    let mut output = rules(|(local, remote)| between(local, remote));
    if let Segments::All = segments {
        // Whom nobody has accepted yet is told when the socket that listens goes, and asks no more
        // after its request was acknowledged.
        output.insert(0, Rule::new().of_tcp_resets().accept());
    }
    let chain = |name, at, rules| {
        let hook = Some(ChainHook { kind: "filter", at, priority: FIRST });
        Chain { name, hook, rules }
    };
    vec![
        chain("input", InetHookNumber::LocalIn, rules(|(local, remote)| between(remote, local))),
        chain("output", InetHookNumber::LocalOut, output),
    ]
}

/// Drops what is sent from one end to the other.
fn between(from: &SocketAddr, to: &SocketAddr) -> Rule {
    // On an IPv6 socket, IPv4 addresses wear a cloak that packets do not have.
    let net = |address: IpAddr| IpNet::from(address.to_canonical());
    Rule::new()
        .source_in(net(from.ip()))
        .destination_in(net(to.ip()))
        .between_tcp_ports(from.port(), to.port())
        .drop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_rule_in_each_direction() {
        let ends = ("10.0.0.1:80".parse().unwrap(), "[::ffff:10.0.0.2]:99".parse().unwrap());
        let chains = chains(Segments::Of(&[ends]), 7);
        let plain: SocketAddr = "10.0.0.2:99".parse().unwrap();
        assert_eq!(chains[0].rules[1], between(&plain, &ends.0));
        assert_eq!(chains[1].rules[1], between(&ends.0, &plain));
        assert_eq!(chains[0].rules.len(), 2);
    }
}
