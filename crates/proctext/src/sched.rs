//! `/proc/PID/sched`: when a thread was last seen running.

use crate::lines;

/// `se.exec_start` in nanoseconds of the scheduler's clock: for a thread that sleeps, the instant at
/// which it fell asleep. `None` if the kernel does not tell (no `CONFIG_SCHED_DEBUG`).
pub fn exec_start_ns(text: &[u8]) -> Option<u64> {
    let line = lines(text).find(|line| line.starts_with(b"se.exec_start"))?;
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = std::str::from_utf8(&line[colon + 1..]).ok()?.trim();
    let (milliseconds, fraction) = value.split_once('.')?;
    let fraction: u64 = (fraction.len() == 6).then(|| fraction.parse().ok())??;
    milliseconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    #[test]
    fn milliseconds_with_six_places() {
        let text = b"sleep (1619, #threads: 1)\n---\nse.exec_start                                :        984461.963255\n";
        assert_eq!(super::exec_start_ns(text), Some(984_461_963_255));
        assert_eq!(super::exec_start_ns(b"se.exec_start : 1.5\n"), None);
    }
}
