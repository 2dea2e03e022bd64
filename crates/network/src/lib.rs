//! Networks of containers: bridges, addresses, published ports and names, made through netlink
//! alone.
//!
//! Entry points: [`Networks`] reads what there is; [`Networks::lock`] gives a [`Ledger`], which
//! changes it. What the packet filter does is a pure function of the leases (`ruleset`).
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod connection_lock;
mod create;
mod endpoint;
mod error;
mod flow;
mod forwarding;
mod held_port;
pub mod hosts;
mod lease;
mod ledger;
mod link;
mod mac;
mod namespace;
mod netlink;
mod network;
mod networks;
mod nftables;
mod note;
mod plug;
mod pool;
mod port;
mod publish;
mod relay;
pub mod resolver;
mod ruleset;

pub use connection_lock::{ConnectionLock, Segments, lift_lock, lock_lastingly};
pub use create::{Creation, Families};
pub use endpoint::{Connection, Former};
pub use error::{Error, Result};
pub use held_port::HeldPort;
pub use lease::{Endpoint, Family, Lease, Owner, Tenancy, Tenure};
pub use ledger::{Joining, Ledger, host_address};
pub use mac::Mac;
pub use network::{DEFAULT_NETWORK, Network, Reach, Subnet};
pub use networks::Networks;
pub use nftables::tables;
pub use note::Note;
pub use port::{Port, Protocol, Publish, Published};
pub use relay::{Relay, Target};
