//! Measures checkpoint and restore, and images, as ratios to plain reading and writing in the same run.
//!
//! Figures of one machine and one minute mean little, their ratios more. So each round measures
//! the baseline right beside what is compared with it, and the median of the rounds is told.
//! Baselines: writing as many bytes from one buffer to a file of the same disk, and reading that
//! file into fresh anonymous memory (by `zoo work baseline-…`, in a process of its own).
//!
//! A virtual machine may have no memory behind pages that are free: the first touch of one takes ten times
//! as long as writing it. So they are filled before, with what the kernel can drop at once.

mod container;
mod image;
mod meter;
mod process;
mod registry;

use anyhow::{bail, ensure};

use crate::build::{self, Binaries, Profile};

/// One line of the table.
pub struct Figure {
    pub workload: String,
    pub what: &'static str,
    /// Milliseconds, or MiB for memory.
    pub value: f64,
    /// What it is compared with, in the same unit.
    pub reference: f64,
    /// How many times the reference it may be.
    pub limit: f64,
    pub unit: &'static str,
}

pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "the bench must be run by root");
    let binaries = build::binaries(Profile::Release)?;
    // Tasks whose parents were killed come to us and not to an init that takes its time.
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    let all = workloads();
    let named = |name: &String| all.iter().any(|(known, _)| known == name);
    if let Some(unknown) = arguments.iter().find(|name| !named(name)) {
        bail!("there is no workload {unknown}");
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|a| a == name);
    let _filled = meter::fill_free_memory()?;
    println!(
        "{:<16} {:<22} {:>11} {:>13} {:>7} {:>7}",
        "workload", "what", "value", "reference", "ratio", "limit"
    );
    for (_, measure) in all.iter().filter(|(name, _)| wanted(name)) {
        print(&measure(&binaries)?);
    }
    Ok(())
}

type Measure = Box<dyn Fn(&Binaries) -> anyhow::Result<Vec<Figure>>>;

fn workloads() -> Vec<(&'static str, Measure)> {
    let mut all: Vec<(&str, Measure)> = Vec::new();
    for workload in &process::WORKLOADS {
        let measure = |binaries: &Binaries| process::measure(binaries, workload);
        all.push((workload.name, Box::new(measure)));
    }
    all.push((container::NAME, Box::new(container::measure)));
    all.push((container::ARCHIVE, Box::new(container::measure_archive)));
    all.push((image::NAME, Box::new(image::measure)));
    all
}

fn print(figures: &[Figure]) {
    for figure in figures {
        let Figure { workload, what, value, reference, limit, unit } = figure;
        let ratio = value / reference;
        let verdict = if ratio <= *limit { "" } else { "  missed" };
        println!(
            "{workload:<16} {what:<22} {value:>8.1} {unit:<2} {reference:>10.1} {unit:<2} \
             {ratio:>7.2} {limit:>7.2}{verdict}"
        );
    }
}
