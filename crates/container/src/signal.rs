//! Names and numbers of signals, as users write them (signal(7)).

use crate::error::{Error, Result};

const NAMES: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// Takes `TERM`, `SIGTERM`, `sigterm` and `15`.
///
/// # Errors
/// [`Error::Invalid`] for what is no signal.
pub fn parse(text: &str) -> Result<i32> {
    let unknown = || Error::invalid(format!("{text:?} is not a signal"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=31).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).ok_or_else(unknown)
}

/// `SIGTERM` for 15.
pub fn name(number: i32) -> String {
    match NAMES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(parse(text).unwrap(), 15);
        }
        for text in ["", "0", "99", "SIG", "TERMINATE"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(name(9), "SIGKILL");
    }
}
