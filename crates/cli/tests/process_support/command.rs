//! Runs the `stasis` binary with a limit of time and keeps what it said.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

const PATIENCE: Duration = Duration::from_secs(40);

/// How a command ended, and when it began and ended.
pub struct Outcome {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
    pub began: Instant,
    pub ended: Instant,
    line: String,
}

impl Outcome {
    /// The whole story for the message of a failed test.
    pub fn story(&self) -> String {
        format!("{}\n{}{}", self.line, self.stdout, self.stderr)
    }

    pub fn says(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        [&self.stdout, &self.stderr].iter().any(|text| text.to_lowercase().contains(&word))
    }

    pub fn expect_success(self) -> anyhow::Result<Outcome> {
        if self.success { Ok(self) } else { bail!("failed: {}", self.story()) }
    }
}

/// `stasis process ARGUMENTS`, with its output in files of `dir` (a restored tree must not hold a
/// pipe of ours open).
pub fn stasis_process(dir: &Path, arguments: &[&str]) -> anyhow::Result<Outcome> {
    let (out, err) = (dir.join("stasis.out"), dir.join("stasis.err"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_stasis"));
    command
        .arg("--runroot")
        .arg(dir.join("run"))
        .arg("process")
        .args(arguments)
        .stdin(Stdio::null());
    command.stdout(File::create(&out)?).stderr(File::create(&err)?);
    let began = Instant::now();
    let mut child = command.spawn().context("cannot start stasis")?;
    let mut killed = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > PATIENCE && !killed {
            child.kill()?;
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let ended = Instant::now();
    let mut line = format!("$ stasis process {} -> {status}", arguments.join(" "));
    if killed {
        line += &format!(" (killed after {PATIENCE:?})");
    } else if let Some(signal) = status.signal() {
        line += &format!(" (died by signal {signal})");
    }
    Ok(Outcome {
        success: status.success(),
        stdout: fs::read_to_string(out)?,
        stderr: fs::read_to_string(err)?,
        began,
        ended,
        line,
    })
}
