//! `/proc/PID/status`, proc_pid_status(5).

use crate::{Result, lines, malformed, number};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// As the thread set it, at most 15 bytes (prctl(2), `PR_SET_NAME`).
    pub name: Vec<u8>,
    pub tracer: i32,
    /// Real, effective, saved, file system.
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    pub groups: Vec<u32>,
    /// Pids from the reader's namespace to the innermost one.
    pub namespace_pids: Vec<i32>,
    pub namespace_groups: Vec<i32>,
    pub namespace_sessions: Vec<i32>,
    pub umask: Option<u32>,
    pub nr_threads: u64,
    /// Signals that wait, for the thread or its process.
    pub pending: u64,
    pub blocked: u64,
    pub ignored: u64,
    pub caught: u64,
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
    pub no_new_privs: bool,
    /// 0 off, 1 strict, 2 filter.
    pub seccomp: u32,
    pub seccomp_filters: u32,
    pub thp_enabled: Option<bool>,
}

/// Parses the file; lines that we do not know are passed over.
pub fn parse(text: &[u8]) -> Result<Status> {
    let mut status = Status::default();
    for line in lines(text) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue; // the continuation of an odd name
        };
        let value = line[colon + 1..].trim_ascii();
        match &line[..colon] {
            b"Name" => status.name = unescape(&line[colon + 1..]),
            b"TracerPid" => status.tracer = int(value)?,
            b"Uid" => status.uids = four(value)?,
            b"Gid" => status.gids = four(value)?,
            b"Groups" => status.groups = list(value, small)?,
            b"NSpid" => status.namespace_pids = list(value, int)?,
            b"NSpgid" => status.namespace_groups = list(value, int)?,
            b"NSsid" => status.namespace_sessions = list(value, int)?,
            b"Umask" => status.umask = Some(base(value, 8)?),
            b"Threads" => status.nr_threads = number("status", value, 10)?,
            b"SigPnd" | b"ShdPnd" => status.pending |= number("status", value, 16)?,
            b"SigBlk" => status.blocked = number("status", value, 16)?,
            b"SigIgn" => status.ignored = number("status", value, 16)?,
            b"SigCgt" => status.caught = number("status", value, 16)?,
            b"CapInh" => status.inheritable = number("status", value, 16)?,
            b"CapPrm" => status.permitted = number("status", value, 16)?,
            b"CapEff" => status.effective = number("status", value, 16)?,
            b"CapBnd" => status.bounding = number("status", value, 16)?,
            b"CapAmb" => status.ambient = number("status", value, 16)?,
            b"NoNewPrivs" => status.no_new_privs = value == b"1",
            b"Seccomp" => status.seccomp = small(value)?,
            b"Seccomp_filters" => status.seccomp_filters = small(value)?,
            b"THP_enabled" => status.thp_enabled = Some(value == b"1"),
            _ => {}
        }
    }
    Ok(status)
}

/// The kernel writes newlines and backslashes of a name as `\n` and `\\`.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    let mut bytes = value.strip_prefix(b"\t").unwrap_or(value).iter();
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(escaped) => *escaped,
                None => b'\\',
            },
            byte => *byte,
        });
    }
    name
}

fn int(text: &[u8]) -> Result<i32> {
    i32::try_from(number("status", text, 10)?).map_err(|_| malformed("status", text))
}

fn small(text: &[u8]) -> Result<u32> {
    base(text, 10)
}

fn base(text: &[u8], radix: u32) -> Result<u32> {
    u32::try_from(number("status", text, radix)?).map_err(|_| malformed("status", text))
}

fn list<T>(text: &[u8], one: fn(&[u8]) -> Result<T>) -> Result<Vec<T>> {
    text.split(u8::is_ascii_whitespace).filter(|item| !item.is_empty()).map(one).collect()
}

fn four(text: &[u8]) -> Result<[u32; 4]> {
    let mut items = text.split(u8::is_ascii_whitespace).filter(|item| !item.is_empty());
    let mut four = [0; 4];
    for place in &mut four {
        *place = small(items.next().ok_or_else(|| malformed("status", text))?)?;
    }
    items.next().map_or(Ok(four), |_| Err(malformed("status", text)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_what_it_knows() {
        let text = b"Name:\ta b\\n\\\\c\nUmask:\t0022\nTracerPid:\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 20 \nNSpid:\t1619\t3\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000100\nSigBlk:\t0000000000010000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let status = super::parse(text).unwrap();
        assert_eq!(status.name, b"a b\n\\c");
        assert_eq!(status.uids, [1, 2, 3, 4]);
        assert_eq!(status.groups, [10, 20]);
        assert_eq!(status.namespace_pids, [1619, 3]);
        assert_eq!((status.tracer, status.umask, status.blocked), (7, Some(0o22), 0x10000));
        assert_eq!(status.pending, 0x101);
        assert!(status.no_new_privs && status.seccomp == 2);
    }
}
