//! `/proc/loadavg`, proc_loadavg(5).

use crate::{Result, malformed, number};

/// How many threads run or wait for a processor.
pub fn running(text: &[u8]) -> Result<u32> {
    let bad = || malformed("loadavg", text);
    let pair = text.split(|byte| *byte == b' ').nth(3).ok_or_else(bad)?;
    let running = pair.split(|byte| *byte == b'/').next().unwrap_or_default();
    u32::try_from(number("loadavg", running, 10)?).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::running;

    #[test]
    fn a_line_of_linux_6_18() {
        assert_eq!(running(b"0.10 0.76 2.12 3/417 19043\n").unwrap(), 3);
        for text in [&b""[..], b"1 2 3", b"1 2 3 x/4 5", b"1 2 3 99999999999/4 5"] {
            assert!(running(text).is_err());
        }
    }
}
