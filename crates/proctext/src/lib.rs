//! Pure parsers of the proc file system's texts. Nothing here touches the kernel.
//!
//! The text of `/proc` comes from the kernel but holds names chosen by strangers (commands, paths), so
//! it is read as bytes, bounded, and every irregularity is an error instead of a panic.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod fdinfo;
pub mod limits;
pub mod loadavg;
pub mod maps;
pub mod mountinfo;
pub mod sched;
pub mod stat;
pub mod status;
pub mod syscall;
pub mod sysvipc;
pub mod tcp_table;
pub mod timers;
pub mod unix_diag;
pub mod vdso;

/// A text that is not as proc(5) describes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected text in {what}: {excerpt:?}")]
pub struct Malformed {
    pub what: &'static str,
    pub excerpt: String,
}

pub type Result<T> = std::result::Result<T, Malformed>;

pub(crate) fn malformed(what: &'static str, text: &[u8]) -> Malformed {
    let excerpt = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
    Malformed { what, excerpt }
}

/// Lines without their ends.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    let next = move || {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        let is_last = rest.is_empty();
        rest = rest.get(end + 1..).unwrap_or_default();
        (!is_last).then_some(line)
    };
    std::iter::from_fn(next).filter(|line| !line.is_empty())
}

/// A number in the given base.
pub(crate) fn number(what: &'static str, text: &[u8], radix: u32) -> Result<u64> {
    let digits = text.trim_ascii();
    let add = |value: u64, byte: &u8| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(radix.into())?.checked_add(digit.into())
    };
    let value = digits.iter().try_fold(0, add);
    value.filter(|_| !digits.is_empty()).ok_or_else(|| malformed(what, text))
}

/// A signed decimal number.
pub(crate) fn signed(what: &'static str, text: &[u8]) -> Result<i64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| malformed(what, text))
}

/// Undoes the octal escapes (`\040`) of paths in maps and mountinfo.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = (byte == b'\\').then(|| after.get(..3).and_then(octal)).flatten();
        match escape {
            Some(value) => {
                plain.push(value);
                rest = &after[3..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_bounded_and_whole() {
        let check = |text: &str, radix, value| {
            assert_eq!(super::number("a test", text.as_bytes(), radix).ok(), value, "{text}");
        };
        check(" 0123\t", 8, Some(0o123));
        check("18446744073709551615", 10, Some(u64::MAX));
        check("18446744073709551616", 10, None);
        check("ffffffffffffffff", 16, Some(u64::MAX));
        check("10000000000000000", 16, None);
        for text in ["", " ", "-1", "+1", "8", "1 2", "x"] {
            check(text, 8, None);
        }
    }

    #[test]
    fn octal_escapes_are_undone_and_others_kept() {
        let check = |text: &[u8], plain: &[u8]| assert_eq!(super::unescape(text), plain);
        check(b"/a\\040b", b"/a b");
        check(b"/a\\", b"/a\\");
        check(b"/a\\12", b"/a\\12");
        check(b"/a\\134n", b"/a\\n");
    }
}
