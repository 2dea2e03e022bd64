//! Time and memory of one command.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::build::workspace;

pub struct Measured {
    pub time: Duration,
    /// The most memory it had at once, as far as was seen.
    pub peak_kib: u64,
}

/// Runs a command to its end, looking at its memory now and then.
pub fn measure(command: &mut Command) -> anyhow::Result<Measured> {
    let error = tempfile::NamedTempFile::new()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(error.reopen()?);
    let begin = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let pid = child.id();
    // Waiting must not be late by the time between two looks, so another thread looks.
    let watch = std::thread::spawn(move || watch_memory(pid));
    let status = child.wait()?;
    let time = begin.elapsed();
    let peak_kib = watch.join().unwrap_or_default();
    let why = fs::read_to_string(error.path()).unwrap_or_default();
    ensure!(status.success(), "{command:?}: {status}: {why}");
    Ok(Measured { time, peak_kib })
}

fn watch_memory(pid: u32) -> u64 {
    let mut peak = 0;
    while let Some(now) = peak_of(pid) {
        peak = peak.max(now);
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Reads a file without contents until the kernel's cache has all memory that was free: what comes later gets
/// its pages from there. They are free again when the file is dropped.
pub fn fill_free_memory() -> anyhow::Result<fs::File> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let free_kib: u64 = line.context("no MemFree")?.trim().trim_end_matches(" kB").parse()?;
    let mut hole = tempfile::tempfile_in(workspace().join("target"))?;
    hole.set_len(free_kib * 1024)?;
    std::io::copy(&mut hole, &mut std::io::sink())?;
    Ok(hole)
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The median, by which one slow round does not count.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_round_does_not_count() {
        assert!((median(vec![3.0, 900.0, 1.0, 2.0, 4.0]) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_command_that_fails_is_told() {
        let failed = measure(Command::new("/bin/sh").args(["-c", "echo why >&2; exit 3"]));
        assert!(failed.is_err_and(|error| error.to_string().contains("why")));
    }
}
