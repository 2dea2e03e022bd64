//! Numbers of bytes as Docker prints them.

/// Docker's units: thousands, four digits.
pub fn human(bytes: u64) -> String {
    with_digits(bytes, 4)
}

/// As [`human`] with three digits, as Docker shows images.
pub fn short(bytes: u64) -> String {
    with_digits(bytes, 3)
}

#[allow(clippy::cast_precision_loss)] // few digits are shown
fn with_digits(bytes: u64, nr_digits: usize) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    let whole_digits = match value {
        ..10.0 => 1,
        10.0..100.0 => 2,
        100.0..1000.0 => 3,
        _ => 4,
    };
    let digits = nr_digits.saturating_sub(whole_digits);
    let number = format!("{value:.digits$}");
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_dockers() {
        for (bytes, expect) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234_567, "1.235MB"),
            (12_000_000_000, "12GB"),
        ] {
            assert_eq!(human(bytes), expect);
        }
        assert_eq!(short(4_261_550), "4.26MB");
        assert_eq!(short(127_400_000), "127MB");
    }
}
