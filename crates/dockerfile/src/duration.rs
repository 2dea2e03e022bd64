//! Durations as Go writes them: `1m30s`, `500ms`, `1.5h`.

use crate::error::Fault;

/// Nanoseconds.
pub(crate) fn parse(text: &str) -> Result<i64, Fault> {
    let wrong = || {
        Fault::new(format!("{text:?} is not a duration"))
            .hint("expected something like 30s or 1m30s")
    };
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let part = unit_ns(unit).and_then(|unit| times(number, unit)).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

fn unit_ns(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        _ => return None,
    })
}

fn times(number: &str, unit_ns: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut result = whole.checked_mul(unit_ns)?;
    let mut unit = unit_ns;
    for digit in fraction.bytes() {
        unit /= 10;
        result = result.checked_add(i64::from(digit - b'0').checked_mul(unit)?)?;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expect) in [
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(expect), "{text}");
        }
        for text in
            ["", "30", "s", "-1s", "1x", "1..5s", ".s", "99999999999999999999s", "9999999999h"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
