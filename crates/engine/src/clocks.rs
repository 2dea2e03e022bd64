//! What our clocks say.

use stasis_model::{ClockReadings, Time};

/// The clocks that sleeps and timers are counted by.
pub fn read_clocks() -> ClockReadings {
    let read = |clock| {
        let now = rustix::time::clock_gettime(clock);
        Time {
            seconds: u64::try_from(now.tv_sec).unwrap_or(0),
            nanoseconds: u32::try_from(now.tv_nsec).unwrap_or(0),
        }
    };
    ClockReadings {
        monotonic: read(rustix::time::ClockId::Monotonic),
        boottime: read(rustix::time::ClockId::Boottime),
    }
}

/// How long this machine runs, microseconds.
pub fn uptime_us() -> Option<u64> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok();
    let seconds = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    seconds.map(|seconds| (seconds * 1e6) as u64)
}
