//! `/proc/PID/limits`, proc_pid_limits(5).

use crate::{Result, lines, malformed, number};

/// Soft and hard limit; infinity is all ones.
pub type Limit = (u64, u64);

/// Names of the file's lines, in the order of the `RLIMIT_*` numbers.
const NAMES: [&str; 16] = [
    "Max cpu time",
    "Max file size",
    "Max data size",
    "Max stack size",
    "Max core file size",
    "Max resident set",
    "Max processes",
    "Max open files",
    "Max locked memory",
    "Max address space",
    "Max file locks",
    "Max pending signals",
    "Max msgqueue size",
    "Max nice priority",
    "Max realtime priority",
    "Max realtime timeout",
];

/// All limits, the index being the `RLIMIT_*` number.
pub fn parse(text: &[u8]) -> Result<[Limit; 16]> {
    let mut limits = [(u64::MAX, u64::MAX); 16];
    for (limit, name) in limits.iter_mut().zip(NAMES) {
        let line = lines(text)
            .find(|line| line.starts_with(name.as_bytes()))
            .ok_or_else(|| malformed("limits", text))?;
        let mut words = line[name.len()..]
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .map(value);
        let mut next = || words.next().unwrap_or_else(|| Err(malformed("limits", line)));
        *limit = (next()?, next()?);
    }
    Ok(limits)
}

fn value(word: &[u8]) -> Result<u64> {
    if word == b"unlimited" { Ok(u64::MAX) } else { number("limits", word, 10) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn limits_of_linux_6_18() {
        let text = super::NAMES
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{name:26}{index:<21}unlimited            bytes     \n"))
            .collect::<String>();
        let limits = super::parse(text.as_bytes()).unwrap();
        assert_eq!(limits[7], (7, u64::MAX));
        assert!(super::parse(b"Max cpu time 1 2\n").is_err());
    }
}
