//! Times, clocks and timers.

use crate::NsPid;

/// A length of time or a clock reading; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    pub seconds: u64,
    pub nanoseconds: u32,
}

impl Time {
    pub const ZERO: Time = Time { seconds: 0, nanoseconds: 0 };

    /// Splits a count of nanoseconds.
    pub fn from_nanoseconds(total: u64) -> Self {
        let nanoseconds = u32::try_from(total % 1_000_000_000).expect("a remainder below 10^9");
        Time { seconds: total / 1_000_000_000, nanoseconds }
    }

    /// All of it in nanoseconds; saturates after 584 years.
    pub fn as_nanoseconds(self) -> u64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(self.nanoseconds))
    }

    pub fn is_zero(self) -> bool {
        self == Time::ZERO
    }
}

/// The clocks when the tree was stopped, for those that must go on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReadings {
    pub monotonic: Time,
    pub boottime: Time,
}

/// setitimer(2): `remaining` zero means disarmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntervalTimer {
    pub interval: Time,
    pub remaining: Time,
}

/// timer_create(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosixTimer {
    pub id: u32,
    pub clock: i32,
    pub signal: i32,
    pub notify: TimerNotify,
    /// `sigev_value` as a word.
    pub value: u64,
    pub overrun: u32,
    pub setting: IntervalTimer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerNotify {
    /// `SIGEV_SIGNAL`
    Process,
    /// `SIGEV_NONE`
    None,
    /// `SIGEV_THREAD_ID`
    Thread(NsPid),
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn nanoseconds_split_and_join() {
        for total in [0, 1, 999_999_999, 1_000_000_000, 12_345_678_901] {
            assert_eq!(Time::from_nanoseconds(total).as_nanoseconds(), total);
        }
    }
}
