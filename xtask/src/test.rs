//! Runs all tests of the workspace and sums up.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use anyhow::{Context, ensure};

use crate::{build, tools};

pub fn run(filters: &[String]) -> anyhow::Result<()> {
    tools::provide();
    let binaries = build::with_tests()?;
    let mut cargo = build::cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    if !filters.is_empty() {
        cargo.arg("--").args(filters);
    }
    cargo.env("ZOO_BIN", binaries.zoo).stdout(Stdio::piped());
    let mut child = cargo.spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut sum = Sum::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        sum.add(&String::from_utf8_lossy(&line));
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    let status = child.wait()?;
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.ignored);
    ensure!(status.success() && sum.failed == 0, "some tests failed");
    ensure!(sum.passed > 0, "no test was run");
    Ok(())
}

/// What cargo's test programs counted.
#[derive(Default, Debug, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sum {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
        for count in counts.split("; ") {
            match count.split_once(' ').map(|(number, what)| (number.parse().unwrap_or(0), what)) {
                Some((number, "passed")) => self.passed += number,
                Some((number, "failed")) => self.failed += number,
                Some((number, "ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_are_added() {
        let mut sum = Sum::default();
        sum.add("running 4 tests");
        sum.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out");
        sum.add("test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured");
        assert_eq!(sum, Sum { passed: 8, failed: 2, ignored: 1 });
    }
}
