//! Hardware addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A hardware address of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address of the device that has this Internet address: who gets the address of another
    /// gets its hardware address too, and no neighbour has to forget anything.
    pub(crate) fn of_address(address: IpAddr) -> Mac {
        match address {
            IpAddr::V4(v4) => Mac::with_tail(v4.octets()),
            IpAddr::V6(v6) => {
                let [.., a, b, c, d] = v6.octets();
                Mac::with_tail([a, b, c, d])
            }
        }
    }

    /// Locally administered, and of no group.
    pub(crate) fn with_tail([a, b, c, d]: [u8; 4]) -> Mac {
        Mac([0x02, 0x42, a, b, c, d])
    }

    pub(crate) fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = Error;

    /// Six hexadecimal numbers with colons or dashes between them, no group address.
    fn from_str(text: &str) -> Result<Mac> {
        let wrong = || Error::invalid(format!("{text:?} is not a hardware address of one device"));
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let is_octet = |part: &&str| {
                part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit())
            };
            let part = parts.next().filter(is_octet).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        let is_group = octets[0] & 1 == 1;
        if parts.next().is_some() || is_group || octets == [0; 6] {
            return Err(wrong());
        }
        Ok(Mac(octets))
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;
    fn try_from(text: String) -> Result<Mac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let mac: Mac = "02-42-0A-58-00-02".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:0a:58:00:02");
        assert_eq!(mac, Mac::of_address("10.88.0.2".parse().unwrap()));
    }

    #[test]
    fn the_rest_is_refused() {
        for text in [
            "",
            "02:42",
            "02:42:0a:58:00:02:03",
            "01:00:5e:00:00:01",
            "2:42:0a:58:0:2",
            "+2:42:0a:58:00:02",
            "00:00:00:00:00:00",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
