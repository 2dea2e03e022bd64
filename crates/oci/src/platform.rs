//! For which machine an image is made: `OS/ARCHITECTURE[/VARIANT]`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Names as Go has them: `amd64`, not `x86_64`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

impl Platform {
    /// The one this program runs on.
    pub fn host() -> Platform {
        normal("linux", std::env::consts::ARCH, None)
    }

    /// Can an image for `offered` run where this one is wanted? A variant counts only if it is asked for.
    pub fn accepts(&self, offered: &Platform) -> bool {
        let wanted = normal(&self.os, &self.architecture, self.variant.as_deref());
        let offered = normal(&offered.os, &offered.architecture, offered.variant.as_deref());
        wanted.os == offered.os
            && wanted.architecture == offered.architecture
            && (wanted.variant.is_none() || wanted.variant == offered.variant)
    }
}

/// Other names of the same thing, as containerd's platform rules have them.
fn normal(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
    let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" => ("amd64".into(), None),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386".into(), None),
        "aarch64" => ("arm64".into(), None),
        "armhf" => ("arm".into(), Some("v7")),
        "armel" => ("arm".into(), Some("v6")),
        "powerpc64le" => ("ppc64le".into(), None),
        other => (other.to_owned(), None),
    };
    let variant = variant.filter(|variant| !variant.is_empty()).or(implied);
    // These say nothing more than the architecture.
    let is_plain = matches!(
        (architecture.as_str(), variant),
        ("arm64", Some("v8" | "8")) | ("amd64", Some("v1"))
    );
    let variant = variant.filter(|_| !is_plain).map(|text| match text {
        "5" | "6" | "7" => format!("v{text}"),
        other => other.to_owned(),
    });
    Platform { os: os.to_ascii_lowercase(), architecture, variant, os_version: None }
}

impl FromStr for Platform {
    type Err = Error;

    /// `linux/arm/v7`, or the architecture alone.
    fn from_str(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(is_word) {
            return Err(Error::Platform { text: text.into() });
        }
        match parts[..] {
            ["linux"] => Ok(Platform::host()),
            [architecture] => Ok(normal("linux", architecture, None)),
            [os, architecture] => Ok(normal(os, architecture, None)),
            [os, architecture, variant] => Ok(normal(os, architecture, Some(variant))),
            _ => Err(Error::Platform { text: text.into() }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(text.parse::<Platform>().unwrap().to_string(), expect, "{text}");
    }

    #[test]
    fn names_are_made_one() {
        check("linux/x86_64", "linux/amd64");
        check("linux/arm64/v8", "linux/arm64");
        check("linux/arm/7", "linux/arm/v7");
        check("armhf", "linux/arm/v7");
        assert!("linux/".parse::<Platform>().is_err());
        assert!("a/b/c/d".parse::<Platform>().is_err());
        assert_eq!(Platform::host().to_string(), "linux/amd64");
    }

    #[test]
    fn a_variant_counts_if_it_is_asked_for() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm").accepts(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm/v6").accepts(&platform("linux/arm/v7")));
        assert!(!platform("linux/amd64").accepts(&platform("linux/arm64")));
    }
}
