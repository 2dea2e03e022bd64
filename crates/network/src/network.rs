//! One network as it is written down: `networks/NAME.json`.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::mac::Mac;

/// The network of containers that ask for none.
pub const DEFAULT_NETWORK: &str = "bridge";

/// A bridge on the host with the addresses behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: String,
    pub created: Timestamp,
    /// The bridge on the host.
    pub device: String,
    /// One of IPv4, one of IPv6, or both.
    pub subnets: Vec<Subnet>,
    pub reach: Reach,
    pub mtu: Option<u32>,
    pub labels: BTreeMap<String, String>,
    /// As the user gave them.
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Containers reach what the host reaches.
    Outside,
    /// Containers reach each other and the host.
    Internal,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub net: IpNet,
    /// The host's own address in it.
    pub gateway: IpAddr,
    /// Where addresses are drawn from, if not from the whole subnet.
    pub range: Option<IpNet>,
}

impl Network {
    /// Do its containers know each other by name?
    ///
    /// Not in the default network, where everybody is who did not ask for company (as with Docker).
    pub fn has_names(&self) -> bool {
        self.name != DEFAULT_NETWORK
    }

    /// The hardware address of its bridge, by which we know the device as ours.
    pub(crate) fn mac(&self) -> Mac {
        let digits = |at: usize| self.id.get(at..at + 2).unwrap_or_default();
        let byte = |at: usize| u8::from_str_radix(digits(at), 16).unwrap_or_default();
        Mac::with_tail([byte(0), byte(2), byte(4), byte(6)])
    }

    pub(crate) fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.net.contains(&address))
    }
}
