//! What `--print-stats` shows: Podman's fields, in microseconds, and ours beside them.

use std::time::Duration;

use serde_json::{Value, json};
use stasis_container::Container;
use stasis_engine::Report;

use crate::command::process;

pub fn of_checkpoint(container: &Container, report: &Report, took: Duration) -> Value {
    let stats = &report.stats;
    json!({
        "Id": container.config.id,
        "runtime_checkpoint_duration": micros(took),
        "criu_statistics": {
            "freezing_time": phase(report, "stop"),
            "frozen_time": micros(stats.stopped),
            "memdump_time": phase(report, "pages"),
            "memwrite_time": phase(report, "write"),
            "pages_scanned": stats.nr_pages + stats.nr_unchanged,
            "pages_written": stats.nr_pages,
        },
        "stasis_statistics": process::stats(report),
    })
}

pub fn of_restore(container: &Container, report: &Report, took: Duration) -> Value {
    let all: u64 = report.stats.phases.iter().map(|(_, time)| micros(*time)).sum();
    json!({
        "Id": container.config.id,
        "runtime_restore_duration": micros(took),
        "criu_statistics": {
            "forking_time": phase(report, "births"),
            "restore_time": all,
            "pages_restored": report.stats.nr_pages,
        },
        "stasis_statistics": process::stats(report),
    })
}

fn phase(report: &Report, name: &str) -> u64 {
    let times = report.stats.phases.iter().filter(|(phase, _)| *phase == name);
    times.map(|(_, time)| micros(*time)).sum()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

pub fn print(duration: &str, took: Duration, figures: &[Value]) {
    let all = json!({ duration: micros(took), "container_statistics": figures });
    say!("{all:#}");
}
