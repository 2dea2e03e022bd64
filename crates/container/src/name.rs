//! Ids and names of containers.

use std::{fs::File, io::Read};

use crate::error::{Context, Error, Result};

/// Draws a new id: 64 hexadecimal digits.
///
/// # Errors
/// [`Error::Refused`] if the kernel has no random bytes.
pub(crate) fn draw_id() -> Result<String> {
    Ok(random_bytes::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Could [`draw_id`] have drawn it?
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Draws a name from two words.
///
/// # Errors
/// [`Error::Refused`] if the kernel has no random bytes.
pub(crate) fn draw_name() -> Result<String> {
    let [a, b] = random_bytes::<2>()?;
    let word = |list: &[&'static str], at: u8| list[usize::from(at) % list.len()];
    Ok(format!("{}_{}", word(&ADJECTIVES, a), word(&PEOPLE, b)))
}

fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("read", "/dev/urandom")?;
    Ok(bytes)
}

/// Refuses names that could be mistaken for a path or an option.
///
/// # Errors
/// [`Error::Invalid`] naming `what` it was to be a name of.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let goes_on = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if starts && goes_on && name.len() <= 255 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{name:?} is not a valid {what} name: use letters, digits, '_', '.', '-', and begin with a \
         letter or digit"
    )))
}

const ADJECTIVES: [&str; 48] = [
    "able", "agile", "amber", "brave", "bright", "brisk", "calm", "candid", "clear", "clever",
    "cosmic", "curious", "daring", "deft", "eager", "early", "fair", "fleet", "frosty", "gentle",
    "glad", "golden", "happy", "hardy", "honest", "humble", "icy", "jolly", "keen", "kind",
    "lively", "lucid", "merry", "mild", "modest", "neat", "noble", "patient", "placid", "proud",
    "quick", "quiet", "steady", "still", "sunny", "swift", "tidy", "warm",
];

const PEOPLE: [&str; 48] = [
    "babbage", "bell", "bohr", "boole", "carson", "cerf", "chandra", "clarke", "curie", "darwin",
    "dijkstra", "einstein", "euclid", "euler", "faraday", "fermat", "fermi", "galileo", "gauss",
    "germain", "godel", "goodall", "hamilton", "hawking", "hertz", "hopper", "hypatia", "joliot",
    "kepler", "knuth", "lamport", "leavitt", "lovelace", "maxwell", "meitner", "mendel", "newton",
    "noether", "pascal", "pasteur", "perlman", "planck", "ritchie", "shannon", "tesla", "thompson",
    "turing", "wing",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_hexadecimal_digits_and_differ() {
        let (a, b) = (draw_id().unwrap(), draw_id().unwrap());
        assert_eq!(a.len(), 64);
        assert!(a.bytes().all(|c| c.is_ascii_hexdigit()));
        assert_ne!(a, b);
    }

    #[test]
    fn drawn_names_are_valid() {
        check_name("container", &draw_name().unwrap()).unwrap();
    }

    #[test]
    fn names_are_one_path_component() {
        for bad in ["", ".", "..", "a/b", "-a", "_a", "a b", "ä"] {
            assert!(check_name("checkpoint", bad).is_err(), "{bad:?}");
        }
        for good in ["a", "A.b_c-9", "0"] {
            check_name("checkpoint", good).unwrap();
        }
    }
}
