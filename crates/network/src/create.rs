//! Making a new network.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use jiff::Timestamp;

use crate::{
    error::{Context, Error, Result},
    lease::Family,
    ledger::Ledger,
    link::Links,
    network::{DEFAULT_NETWORK, Network, Reach, Subnet},
    pool,
};

/// Names that mean something else.
const RESERVED: [&str; 4] = ["host", "none", "default", "container"];
/// Longest name of a device (IFNAMSIZ without the zero).
const MAX_DEVICE_NAME_BYTES: usize = 15;

/// What a new network shall be.
#[derive(Clone, Debug)]
pub struct Creation {
    pub name: String,
    /// None: one that nobody uses.
    pub subnets: Vec<IpNet>,
    /// Each lies in one of the subnets.
    pub gateways: Vec<IpAddr>,
    /// Each lies in one of the subnets.
    pub ranges: Vec<IpNet>,
    pub families: Families,
    pub reach: Reach,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    V4,
    Both,
}

impl Creation {
    /// An ordinary network of this name.
    pub fn named(name: impl Into<String>) -> Creation {
        Creation {
            name: name.into(),
            subnets: Vec::new(),
            gateways: Vec::new(),
            ranges: Vec::new(),
            families: Families::V4,
            reach: Reach::Outside,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }
}

impl Ledger {
    /// Makes a network. The caller has checked that the name is one path component.
    ///
    /// # Errors
    /// [`Error::Taken`] if the name or the subnet is somebody else's, [`Error::Invalid`] for wishes
    /// that cannot be followed.
    pub fn create(&mut self, creation: &Creation) -> Result<Network> {
        let name = &creation.name;
        if RESERVED.contains(&name.as_str()) {
            return Err(Error::invalid(format!("{name} cannot be the name of a network")));
        }
        if self.networks().iter().any(|network| network.name == *name) {
            let what = format!("network name {name}");
            return Err(Error::Taken { what, holder: "another network".into() });
        }
        let id = draw_id()?;
        let subnets = self.choose_subnets(creation, &id)?;
        let options = Options::of(&creation.options)?;
        let device = match options.device {
            Some(device) => self.free_device(device)?,
            None => self.draw_device()?,
        };
        self.add(Network {
            id,
            name: name.clone(),
            created: Timestamp::now(),
            device,
            subnets,
            reach: creation.reach,
            mtu: options.mtu,
            labels: creation.labels.clone(),
            options: creation.options.clone(),
        })
    }

    /// Makes the network of containers that ask for none, unless it is there.
    ///
    /// # Errors
    /// As [`Ledger::create`].
    pub fn ensure_default(&mut self) -> Result<()> {
        if self.networks().iter().any(|network| network.name == DEFAULT_NETWORK) {
            return Ok(());
        }
        self.create(&Creation::named(DEFAULT_NETWORK)).map(drop)
    }

    fn choose_subnets(&self, creation: &Creation, id: &str) -> Result<Vec<Subnet>> {
        let in_use = self.subnets_in_use()?;
        let mut nets: Vec<IpNet> = creation.subnets.iter().map(IpNet::trunc).collect();
        for net in &nets {
            refuse_overlap(*net, &in_use)?;
        }
        if !nets.iter().any(|net| Family::of(net.addr()) == Family::V4) {
            let taken: Vec<IpNet> = in_use.iter().map(|(net, _)| *net).collect();
            let free = pool::free_subnet(&taken).ok_or_else(|| {
                Error::invalid("this host's routes leave no subnet free: give one with --subnet")
            })?;
            nets.insert(0, free);
        }
        let has_v6 = nets.iter().any(|net| Family::of(net.addr()) == Family::V6);
        if creation.families == Families::Both && !has_v6 {
            nets.push(pool::local_subnet_v6(id));
        }
        one_of_each_family(&nets)?;
        refuse_strays(creation, &nets)?;
        nets.into_iter().map(|net| subnet(creation, net)).collect()
    }

    fn free_device(&self, name: String) -> Result<String> {
        let is_taken = self.networks().iter().any(|network| network.device == name)
            || Links::open()?.find(&name)?.is_some();
        if is_taken {
            let what = format!("the device name {name}");
            return Err(Error::Taken { what, holder: "another device".into() });
        }
        Ok(name)
    }

    /// The first free one of `stasis0`, `stasis1` …
    fn draw_device(&self) -> Result<String> {
        for number in 0..u32::MAX {
            match self.free_device(format!("stasis{number}")) {
                Err(Error::Taken { .. }) => {}
                other => return other,
            }
        }
        Err(Error::invalid("every device name is taken"))
    }
}

fn refuse_overlap(net: IpNet, in_use: &[(IpNet, String)]) -> Result<()> {
    match in_use.iter().find(|(other, _)| pool::overlap(&net, other)) {
        Some((_, holder)) => {
            Err(Error::Taken { what: format!("subnet {net}"), holder: holder.clone() })
        }
        None => Ok(()),
    }
}

fn one_of_each_family(nets: &[IpNet]) -> Result<()> {
    for family in [Family::V4, Family::V6] {
        if nets.iter().filter(|net| Family::of(net.addr()) == family).count() > 1 {
            return Err(Error::invalid("a network has at most one subnet of each family"));
        }
    }
    Ok(())
}

/// Every gateway and range must lie somewhere.
fn refuse_strays(creation: &Creation, nets: &[IpNet]) -> Result<()> {
    for gateway in &creation.gateways {
        if !nets.iter().any(|net| net.contains(gateway)) {
            return Err(Error::invalid(format!("gateway {gateway} lies in none of the subnets")));
        }
    }
    for range in &creation.ranges {
        if !nets.iter().any(|net| net.contains(range)) {
            return Err(Error::invalid(format!("range {range} lies in none of the subnets")));
        }
    }
    Ok(())
}

fn subnet(creation: &Creation, net: IpNet) -> Result<Subnet> {
    let too_small = || Error::invalid(format!("subnet {net} has no room for containers"));
    if net.prefix_len() > net.max_prefix_len() - 2 {
        return Err(too_small());
    }
    let given = creation.gateways.iter().copied().find(|gateway| net.contains(gateway));
    let gateway = given.or_else(|| first_host(net)).ok_or_else(too_small)?;
    if gateway == net.network() || gateway == net.broadcast() {
        return Err(Error::invalid(format!("{gateway} cannot be the gateway of {net}")));
    }
    let range = creation.ranges.iter().copied().find(|range| net.contains(range));
    Ok(Subnet { net, gateway, range })
}

/// The first address of a subnet that a host can have.
pub(crate) fn first_host(net: IpNet) -> Option<IpAddr> {
    net.hosts().find(|address| *address != net.network())
}

/// The options that change something.
struct Options {
    device: Option<String>,
    mtu: Option<u32>,
}

impl Options {
    fn of(given: &BTreeMap<String, String>) -> Result<Options> {
        let mut options = Options { device: None, mtu: None };
        for (name, value) in given {
            match name.as_str() {
                "com.docker.network.bridge.name" => options.device = Some(device_name(value)?),
                "com.docker.network.driver.mtu" | "mtu" => options.mtu = Some(mtu(value)?),
                _ => {
                    return Err(Error::invalid(format!(
                        "unknown option {name:?} of a network: there are \
                         com.docker.network.bridge.name and com.docker.network.driver.mtu"
                    )));
                }
            }
        }
        Ok(options)
    }
}

fn device_name(text: &str) -> Result<String> {
    let is_valid = (1..=MAX_DEVICE_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if is_valid {
        return Ok(text.to_owned());
    }
    Err(Error::invalid(format!("{text:?} cannot be the name of a device: at most 15 letters")))
}

/// From what IPv4 demands (or IPv6, RFC 8200) to what fits a packet.
fn mtu(text: &str) -> Result<u32> {
    text.parse()
        .ok()
        .filter(|mtu| (1280..=65535).contains(mtu))
        .ok_or_else(|| Error::invalid(format!("{text:?} is not an MTU: give 1280 to 65535")))
}

fn draw_id() -> Result<String> {
    let mut bytes = [0u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("draw", "random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
