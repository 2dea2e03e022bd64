//! `/proc/PID/timers`, proc_pid_timers(5): timers of timer_create(2).

use crate::{Result, lines, malformed, number, signed};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    pub id: u32,
    pub signal: i32,
    /// `sigev_value` as a word.
    pub value: u64,
    pub notify: Notify,
    pub clock: i32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    #[default]
    None,
    Signal,
    /// Delivered to the thread with this id in the reader's namespace.
    Thread(i32),
}

/// Parses the file.
pub fn parse(text: &[u8]) -> Result<Vec<Timer>> {
    let mut timers: Vec<Timer> = Vec::new();
    for line in lines(text) {
        let bad = || malformed("timers", line);
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
        let value = line[colon + 1..].trim_ascii();
        let key = &line[..colon];
        if key == b"ID" {
            let id = u32::try_from(number("timers", value, 10)?).map_err(|_| bad())?;
            timers.push(Timer { id, ..Timer::default() });
            continue;
        }
        let timer = timers.last_mut().ok_or_else(bad)?;
        match key {
            b"signal" => (timer.signal, timer.value) = signal(value).ok_or_else(bad)?,
            b"notify" => timer.notify = notify(value).ok_or_else(bad)?,
            b"ClockID" => {
                timer.clock = i32::try_from(signed("timers", value)?).map_err(|_| bad())?;
            }
            _ => {}
        }
    }
    Ok(timers)
}

fn signal(text: &[u8]) -> Option<(i32, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (signal, value) = text.split_once('/')?;
    let value = value.strip_prefix("0x").unwrap_or(value);
    Some((signal.parse().ok()?, u64::from_str_radix(value, 16).ok()?))
}

fn notify(text: &[u8]) -> Option<Notify> {
    let text = std::str::from_utf8(text).ok()?;
    let (how, whom) = text.split_once('/')?;
    let (kind, id) = whom.split_once('.')?;
    match (how, kind) {
        ("none", _) => Some(Notify::None),
        ("signal", "tid") => Some(Notify::Thread(id.parse().ok()?)),
        ("signal", _) => Some(Notify::Signal),
        ("thread", _) => Some(Notify::Signal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Notify, parse};

    #[test]
    fn timers_of_linux_6_18() {
        let text = b"ID: 1\nsignal: 60/00007fff86e452a8\nnotify: signal/tid.2634\nClockID: 0\nID: 0\nsignal: 60/00007fff86e452a8\nnotify: signal/pid.2634\nClockID: 1\nID: 3\nsignal: 0/0000000000000000\nnotify: none/pid.5\nClockID: -6\n";
        let timers = parse(text).unwrap();
        assert_eq!(timers.len(), 3);
        assert_eq!((timers[0].id, timers[0].notify), (1, Notify::Thread(2634)));
        assert_eq!((timers[1].signal, timers[1].value), (60, 0x7fff_86e4_52a8));
        assert_eq!((timers[2].notify, timers[2].clock), (Notify::None, -6));
        assert!(parse(b"signal: 1/0\n").is_err());
    }
}
