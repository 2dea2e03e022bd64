//! Ports of containers, and how they are published on the host.

use std::{fmt, net::IpAddr, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Each published port costs a socket and a rule.
const MAX_PORTS: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A port of a container: `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    pub number: u16,
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl FromStr for Port {
    type Err = Error;

    /// `80`, `80/tcp`, `53/udp`.
    fn from_str(text: &str) -> Result<Port> {
        match Port::parse_range(text)?.as_slice() {
            [port] => Ok(*port),
            _ => Err(Error::invalid(format!("{text:?} is more than one port"))),
        }
    }
}

impl Port {
    /// `80`, `80/tcp`, `8000-8010/udp`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse_range(text: &str) -> Result<Vec<Port>> {
        let (numbers, protocol) = split_protocol(text)?;
        Ok(parse_numbers(text, numbers)?.map(|number| Port { number, protocol }).collect())
    }
}

/// A wish to publish one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// None: on all addresses of the host.
    pub host_ip: Option<IpAddr>,
    /// Any of these; none: whichever is free.
    pub host_ports: Option<RangeInclusive<u16>>,
    pub port: Port,
}

impl Publish {
    /// `[[HOST-ADDRESS:]HOST-PORT[-LAST]:]PORT[-LAST][/tcp|/udp]`; IPv6 addresses in brackets.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(text: &str) -> Result<Vec<Publish>> {
        let (mapping, protocol) = split_protocol(text)?;
        let (rest, container) = mapping.rsplit_once(':').unwrap_or(("", mapping));
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => (Some(address), host),
            None => (None, rest),
        };
        let host_ip = address.map(|address| parse_address(text, address)).transpose()?.flatten();
        let ports = parse_numbers(text, container)?;
        if host.is_empty() {
            return Ok(ports.map(|number| one(host_ip, None, number, protocol)).collect());
        }
        let hosts = parse_numbers(text, host)?;
        match (ports.len(), hosts.len()) {
            (1, _) => Ok(vec![one(host_ip, Some(hosts), *ports.start(), protocol)]),
            (a, b) if a == b => Ok(ports
                .zip(hosts)
                .map(|(number, host)| one(host_ip, Some(host..=host), number, protocol))
                .collect()),
            _ => Err(Error::invalid(format!("{text:?}: the two ranges of ports differ in length"))),
        }
    }
}

fn one(
    host_ip: Option<IpAddr>,
    host_ports: Option<RangeInclusive<u16>>,
    number: u16,
    protocol: Protocol,
) -> Publish {
    Publish { host_ip, host_ports, port: Port { number, protocol } }
}

fn parse_address(text: &str, address: &str) -> Result<Option<IpAddr>> {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if bare.is_empty() {
        // Every address of the host.
        return Ok(None);
    }
    let address: IpAddr = bare
        .parse()
        .map_err(|_| Error::invalid(format!("{text:?}: {bare:?} is not an address of the host")))?;
    Ok(Some(address))
}

fn split_protocol(text: &str) -> Result<(&str, Protocol)> {
    match text.split_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((rest, protocol)) if protocol.eq_ignore_ascii_case("tcp") => Ok((rest, Protocol::Tcp)),
        Some((rest, protocol)) if protocol.eq_ignore_ascii_case("udp") => Ok((rest, Protocol::Udp)),
        Some((_, other)) => Err(Error::invalid(format!(
            "{text:?}: the protocol {other:?} is not supported: use tcp or udp"
        ))),
    }
}

/// `80`, or `8000-8010` in this order.
fn parse_numbers(text: &str, numbers: &str) -> Result<RangeInclusive<u16>> {
    let wrong = || Error::invalid(format!("{text:?}: {numbers:?} is not a port or range of ports"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0);
    let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
    if first > last {
        return Err(wrong());
    }
    if usize::from(last - first) >= MAX_PORTS {
        return Err(Error::invalid(format!(
            "{text:?}: more than {MAX_PORTS} ports at once; use --network host for so many"
        )));
    }
    Ok(first..=last)
}

/// A port as it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub host_ip: IpAddr,
    pub host_port: u16,
    pub port: Port,
}

impl Published {
    /// Would both be reached by the same packet?
    pub(crate) fn collides(&self, other: &Published) -> bool {
        let same_address = self.host_ip == other.host_ip
            || (self.host_ip.is_ipv4() == other.host_ip.is_ipv4()
                && (self.host_ip.is_unspecified() || other.host_ip.is_unspecified()));
        same_address
            && self.host_port == other.host_port
            && self.port.protocol == other.port.protocol
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Address and ports of the host, port of the container.
    type Expected<'a> = (Option<&'a str>, Option<RangeInclusive<u16>>, &'a str);

    fn check(text: &str, expect: &[Expected]) {
        let expect: Vec<Publish> = expect
            .iter()
            .map(|(ip, host_ports, port)| Publish {
                host_ip: ip.map(|ip| ip.parse().unwrap()),
                host_ports: host_ports.clone(),
                port: port.parse().unwrap(),
            })
            .collect();
        assert_eq!(Publish::parse(text).unwrap(), expect, "{text}");
    }

    #[test]
    fn what_people_write() {
        check("80", &[(None, None, "80/tcp")]);
        check("8080:80", &[(None, Some(8080..=8080), "80/tcp")]);
        check("127.0.0.1:53:5353/udp", &[(Some("127.0.0.1"), Some(53..=53), "5353/udp")]);
        check("127.0.0.1::80", &[(Some("127.0.0.1"), None, "80/tcp")]);
        check("0.0.0.0:1:2", &[(Some("0.0.0.0"), Some(1..=1), "2/tcp")]);
        check("[::1]:8080:80/TCP", &[(Some("::1"), Some(8080..=8080), "80/tcp")]);
        check("8000-8009:80", &[(None, Some(8000..=8009), "80/tcp")]);
        let two = [(None, Some(8000..=8000), "80/tcp"), (None, Some(8001..=8001), "81/tcp")];
        check("8000-8001:80-81", &two);
    }

    #[test]
    fn the_rest_is_refused() {
        for text in [
            "",
            "0",
            "80/sctp",
            "1-2:3-5",
            "65536",
            "2-1",
            "a:80",
            "1.2.3:1:1",
            "80/",
            "1-65535",
            "-",
        ] {
            assert!(Publish::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9a-f:./\\[\\]-]{0,30}") {
            let _ = Publish::parse(&text);
        }
    }
}
