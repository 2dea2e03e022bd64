//! `/proc/PID/syscall`, proc_pid_syscall(5).

use crate::number;

/// A thread that is blocked in a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub number: u64,
    pub arguments: [u64; 6],
}

/// `None` if the thread runs or is blocked elsewhere.
pub fn parse(text: &[u8]) -> Option<Blocked> {
    let mut words = text.trim_ascii().split(|byte| *byte == b' ');
    let nr = number("syscall", words.next()?, 10).ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = number("syscall", words.next()?.strip_prefix(b"0x")?, 16).ok()?;
    }
    Some(Blocked { number: nr, arguments })
}

#[cfg(test)]
mod tests {
    #[test]
    fn blocked_or_not() {
        let text =
            b"230 0x0 0x0 0x7ffdf6ee6d50 0x7ffdf6ee6d90 0x0 0x0 0x7ffdf6ee6d38 0x7f14d4690503\n";
        let blocked = super::parse(text).unwrap();
        assert_eq!((blocked.number, blocked.arguments[2]), (230, 0x7ffd_f6ee_6d50));
        assert_eq!(super::parse(b"running\n"), None);
        assert_eq!(super::parse(b"-1 0x0 0x0\n"), None);
    }
}
