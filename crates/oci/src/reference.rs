//! Names of images as people type them: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
//!
//! Docker's rules: a first part with a dot, a colon or a capital letter, or `localhost`, is a
//! registry; without one it is `docker.io`, and there a single word lies below `library/`. Without
//! tag and digest the tag is `latest`. What is printed is the shortest form that means the same.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    error::{Error, Result},
};

const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL: &str = "library/";
const MAX_NAME_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// A registry and a path in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    path: String,
}

/// A word after the colon, such as `latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// Names an image of a repository by tag, digest, or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Repository {
    /// Such as `docker.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Such as `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As people write it: `busybox`, `registry.example/me/app`.
    pub fn familiar(&self) -> String {
        let (first, is_nested) = match self.path.split_once('/') {
            Some((first, _)) => (first, true),
            None => (self.path.as_str(), false),
        };
        if self.registry != DEFAULT_REGISTRY || is_nested && looks_like_registry(first) {
            return self.to_string();
        }
        match self.path.strip_prefix(OFFICIAL) {
            // `library/a/b` is not `a/b`.
            Some(word) if !word.contains('/') => word.to_owned(),
            _ => self.path.clone(),
        }
    }

    pub fn with_tag(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag), digest: None }
    }

    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

impl Tag {
    pub fn latest() -> Tag {
        Tag("latest".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reference {
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// As people write it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.repository.familiar() + &self.suffix()
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{}", tag.0)).unwrap_or_default();
        tag + &self.digest.map(|digest| format!("@{digest}")).unwrap_or_default()
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Tag> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let is_tag = !text.is_empty()
            && text.len() <= MAX_TAG_BYTES
            && word(text.as_bytes()[0])
            && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'));
        if is_tag {
            return Ok(Tag(text.to_owned()));
        }
        let reason = "a tag has up to 128 letters, digits, underscores, dots and hyphens";
        Err(Error::Reference { text: shown(text), reason })
    }
}

impl FromStr for Repository {
    type Err = Error;

    /// A name without tag and digest.
    fn from_str(text: &str) -> Result<Repository> {
        let wrong = |reason| Err(Error::Reference { text: shown(text), reason });
        let (registry, path) = split_registry(text);
        if Digest::from_hex(text).is_ok() {
            return wrong("64 hexadecimal digits are an id");
        }
        if !is_registry(&registry) {
            return wrong("what stands before the first slash is not HOST[:PORT]");
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return wrong("a repository is written in small letters");
        }
        if path.is_empty() || !path.split('/').all(is_path_part) {
            return wrong(
                "a repository has small letters and digits, with single dots, one or two \
                 underscores, or hyphens between them",
            );
        }
        if registry.len() + 1 + path.len() > MAX_NAME_BYTES {
            return wrong("it has more than 255 characters");
        }
        Ok(Repository { registry, path })
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// A name with or without tag and digest; without both the tag is `latest`.
    fn from_str(text: &str) -> Result<Reference> {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let (name, tag) = match named.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (named, None),
        };
        let repository = name.parse()?;
        let tag = tag.or_else(|| digest.is_none().then(Tag::latest));
        Ok(Reference { repository, tag, digest })
    }
}

/// Beginnings of hostile texts are enough in a message.
fn shown(text: &str) -> String {
    text.chars().take(300).collect()
}

fn split_registry(text: &str) -> (String, String) {
    let (registry, path) = match text.split_once('/') {
        Some((first, rest)) if looks_like_registry(first) => (first, rest.to_owned()),
        _ => (DEFAULT_REGISTRY, text.to_owned()),
    };
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    let is_official = registry == DEFAULT_REGISTRY && !path.contains('/');
    (registry.to_owned(), if is_official { format!("{OFFICIAL}{path}") } else { path })
}

fn looks_like_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':', '['])
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_registry(text: &str) -> bool {
    let is_port =
        |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Words of small letters and digits, joined by `.`, `_`, `__` or hyphens.
fn is_path_part(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [part.bytes().next(), part.bytes().next_back()];
    let is_joint =
        |joint: &str| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-');
    ends.into_iter().all(|end| end.is_some_and(is_word))
        && part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(is_joint)
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The whole name: `docker.io/library/busybox:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository, self.suffix())
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Reference> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, whole: &str, familiar: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), whole, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
        assert_eq!(whole.parse::<Reference>().unwrap(), reference, "{text}");
        assert_eq!(familiar.parse::<Reference>().unwrap(), reference, "{text}");
    }

    #[test]
    fn short_names_are_made_whole() {
        check("busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("me/app:1", "docker.io/me/app:1", "me/app:1");
        check("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest");
        check("localhost/a", "localhost/a:latest", "localhost/a:latest");
        check(
            "localhost:5000/a/b:v1.0-x",
            "localhost:5000/a/b:v1.0-x",
            "localhost:5000/a/b:v1.0-x",
        );
        check("quay.io/a__b/c---d.e", "quay.io/a__b/c---d.e:latest", "quay.io/a__b/c---d.e:latest");
        check("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest");
        check(
            "docker.io/localhost/a",
            "docker.io/localhost/a:latest",
            "docker.io/localhost/a:latest",
        );
        check("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest");
    }

    #[test]
    fn digests_are_kept() {
        let digest = Digest::of(b"x");
        check(
            &format!("a@{digest}"),
            &format!("docker.io/library/a@{digest}"),
            &format!("a@{digest}"),
        );
        check(
            &format!("q.io/a:b@{digest}"),
            &format!("q.io/a:b@{digest}"),
            &format!("q.io/a:b@{digest}"),
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let id = "a".repeat(64);
        let long = format!("a/{}", "b".repeat(254));
        let names = [
            "",
            ":",
            "a:",
            "A",
            "a/B",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a b",
            "a:b:c",
            "a@sha256:1",
            "a@",
            ".",
            "..",
            "../a",
            "a/../b",
            "h:/a",
            "h:x/a",
            "h:123456/a",
            "-h.x/a",
            "[::g]/a",
            "[::1/a",
            "ä",
            &id,
            &long,
            "a:.b",
            "a\n",
        ];
        for name in names {
            assert!(name.parse::<Reference>().is_err(), "{name:?}");
        }
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_again(text in "[a-zA-Z0-9._:/@\\[\\]-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                proptest::prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference.clone());
                proptest::prop_assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
