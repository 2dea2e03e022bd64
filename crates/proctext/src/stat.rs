//! `/proc/PID/stat`, proc_pid_stat(5).

use crate::{Result, malformed, number, signed};

/// The fields that we use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    /// At most 15 bytes, any but NUL.
    pub name: Vec<u8>,
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`.
    pub state: u8,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// Controlling terminal, 0 if there is none (minor in bits 31-20 and 7-0, major in 15-8).
    pub terminal: u32,
    /// Foreground group of the terminal, -1 if there is none.
    pub terminal_group: i32,
    pub flags: u32,
    pub nice: i32,
    /// Clock ticks after boot.
    pub start_time: u64,
    pub start_code: u64,
    pub end_code: u64,
    pub start_stack: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub arguments: (u64, u64),
    pub environment: (u64, u64),
    /// Raw wait status.
    pub exit_code: i32,
}

/// Parses the one line of the file.
pub fn parse(text: &[u8]) -> Result<Stat> {
    let bad = || malformed("stat", text);
    let open = text.iter().position(|byte| *byte == b'(').ok_or_else(bad)?;
    let close = text.iter().rposition(|byte| *byte == b')').ok_or_else(bad)?;
    let name = text.get(open + 1..close).ok_or_else(bad)?.to_vec();
    let rest = text.get(close + 1..).ok_or_else(bad)?.trim_ascii();
    let fields: Vec<&[u8]> = rest.split(|byte| *byte == b' ').collect();
    // Field n of the manual page (from 1) is at index n - 3.
    let field = |n: usize| fields.get(n - 3).copied().ok_or_else(bad);
    let unsigned = |n: usize| number("stat", field(n)?, 10);
    let int = |n: usize| {
        signed("stat", field(n)?).and_then(|value| i32::try_from(value).map_err(|_| bad()))
    };
    Ok(Stat {
        pid: i32::try_from(number("stat", &text[..open], 10)?).map_err(|_| bad())?,
        name,
        state: *field(3)?.first().ok_or_else(bad)?,
        parent: int(4)?,
        group: int(5)?,
        session: int(6)?,
        terminal: int(7)?.cast_unsigned(),
        terminal_group: int(8)?,
        flags: u32::try_from(unsigned(9)?).map_err(|_| bad())?,
        nice: int(19)?,
        start_time: unsigned(22)?,
        start_code: unsigned(26)?,
        end_code: unsigned(27)?,
        start_stack: unsigned(28)?,
        start_data: unsigned(45)?,
        end_data: unsigned(46)?,
        start_brk: unsigned(47)?,
        arguments: (unsigned(48)?, unsigned(49)?),
        environment: (unsigned(50)?, unsigned(51)?),
        exit_code: int(52)?,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    const LINUX_6_18: &[u8] = b"1619 (a) b (c) S 1 1610 1600 34816 1610 4194304 94 0 0 0 0 0 0 0 20 -5 1 0 98446 5627904 389 18446744073709551615 94012 94013 140728 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 101 102 103 104 105 106 107 256\n";

    #[test]
    fn names_may_hold_parentheses_and_spaces() {
        let stat = parse(LINUX_6_18).unwrap();
        assert_eq!(stat.name, b"a) b (c");
        assert_eq!((stat.pid, stat.state, stat.parent, stat.nice), (1619, b'S', 1, -5));
        assert_eq!((stat.start_time, stat.start_code, stat.start_stack), (98446, 94012, 140728));
        assert_eq!((stat.start_data, stat.environment, stat.exit_code), (101, (106, 107), 256));
    }

    #[test]
    fn short_lines_are_errors() {
        for len in 0..LINUX_6_18.len() - 5 {
            assert!(parse(&LINUX_6_18[..len]).is_err(), "{len}");
        }
    }
}
