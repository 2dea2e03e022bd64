//! `top`: the processes of a container, from the proc file system.

use std::fs;

use jiff::{Timestamp, tz::TimeZone};

use crate::{error::Result, process, store::Container};

/// Kernel clock ticks per second, which proc_pid_stat(5) counts in; 100 on every Linux we run on.
const TICKS_PER_SECOND: u64 = 100;

/// One process as `ps -ef` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub user: String,
    pub pid: i32,
    pub parent: i32,
    pub cpu_percent: u64,
    pub started: String,
    pub terminal: String,
    pub time: String,
    pub command: String,
}

impl Container {
    /// The processes of a container that runs, in the host's numbers.
    ///
    /// # Errors
    /// [`crate::Error::WrongState`] if it does not run.
    pub fn top(&self) -> Result<Vec<Row>> {
        if !self.state()?.status.is_up() {
            return Err(self.wrong_state("is not running"));
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        // Processes may end while we look: those are left out.
        Ok(self.cgroup().processes()?.into_iter().filter_map(|pid| row(pid, &passwd)).collect())
    }
}

fn row(pid: i32, passwd: &str) -> Option<Row> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let name_end = stat.rfind(')')?;
    let name = &stat[stat.find('(')? + 1..name_end];
    let fields: Vec<&str> = stat[name_end + 1..].split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
    let ticks = number(11)? + number(12)?;
    let start_s = number(19)? / TICKS_PER_SECOND;
    let now = uptime_s()?;
    let cmdline = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&cmdline).trim_end_matches('\0').replace('\0', " ");
    Some(Row {
        user: user_of(pid, passwd)?,
        pid,
        parent: process::parent_of(pid)?,
        cpu_percent: ticks * 100 / TICKS_PER_SECOND / now.saturating_sub(start_s).max(1),
        started: started(now.saturating_sub(start_s)),
        terminal: terminal(number(4)?),
        time: clock(ticks / TICKS_PER_SECOND),
        command: if command.is_empty() { format!("[{name}]") } else { command },
    })
}

fn uptime_s() -> Option<u64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    text.split('.').next()?.parse().ok()
}

fn user_of(pid: i32, passwd: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split('\t').nth(2)?;
    let name = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| {
        (fields.get(2) == Some(&uid)).then(|| fields[0].to_owned())
    });
    Some(name.unwrap_or_else(|| uid.to_owned()))
}

fn started(seconds_ago: u64) -> String {
    let ago = jiff::SignedDuration::from_secs(i64::try_from(seconds_ago).unwrap_or(0));
    let time = Timestamp::now() - ago;
    time.to_zoned(TimeZone::system()).strftime("%H:%M").to_string()
}

/// Only pseudo terminals are named; their major numbers begin at 136.
fn terminal(device: u64) -> String {
    let (major, minor) = (device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".into(),
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_have_a_row() {
        let row = row(std::process::id() as i32, "root:x:0:0::/root:/bin/sh").unwrap();
        assert_eq!(row.parent, rustix::process::getppid().unwrap().as_raw_nonzero().get());
    }

    #[test]
    fn terminals_and_times() {
        assert_eq!(terminal(136 << 8 | 3), "pts/3");
        assert_eq!(terminal(0), "?");
        assert_eq!(clock(3661), "01:01:01");
    }
}
