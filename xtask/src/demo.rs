//! The main job, run for real: a counter in a container is frozen to disk and goes on later, and
//! so does one without a container. Fails if a number is missing or comes twice.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use crate::build::{self, Profile};

const COUNTER: &str = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 1; done";
const CONTAINER: &str = "cr";
const CHECKPOINT: &str = "checkpoint1";

pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let profile = match arguments {
        [] => Profile::Dev,
        [option] if option == "--release" => Profile::Release,
        _ => bail!("usage: cargo xtask demo [--release]"),
    };
    ensure!(rustix::process::geteuid().is_root(), "the demo must be run by root");
    let binaries = build::binaries(profile)?;
    let dir = tempfile::Builder::new().prefix("stasis-demo-").tempdir()?;
    let stasis = Stasis::new(&binaries.stasis, dir.path())?;
    println!("\n# A container, frozen to disk and started again where it stopped\n");
    let counted = container(&stasis);
    stasis.clean_up();
    let counted = counted?;
    println!("\n# The same without a container\n");
    let process = process(&stasis, dir.path())?;
    println!("\nBoth counters went on without a gap: {counted} and {process} numbers.");
    Ok(())
}

/// Runs commands with directories of their own, so that the machine's containers stay alone.
struct Stasis<'a> {
    binary: &'a Path,
    root: String,
    runroot: String,
}

impl<'a> Stasis<'a> {
    fn new(binary: &'a Path, dir: &Path) -> anyhow::Result<Stasis<'a>> {
        let make = |name| -> anyhow::Result<String> {
            let path = dir.join(name);
            fs::create_dir(&path)?;
            Ok(path.display().to_string())
        };
        Ok(Stasis { binary, root: make("root")?, runroot: make("runroot")? })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command.args(["--root", &self.root, "--runroot", &self.runroot]).args(arguments);
        // The counter needs none, and the machine's own stays as it is.
        command.env("STASIS_NETWORK", "none").stdin(Stdio::null());
        command
    }

    /// Prints a command, runs it, prints what came out.
    fn show(&self, arguments: &[&str]) -> anyhow::Result<String> {
        println!("$ stasis {}", arguments.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" "));
        let Output { status, stdout, stderr } =
            self.command(arguments).output().context("cannot start stasis")?;
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        print!("{stdout}{}", String::from_utf8_lossy(&stderr));
        ensure!(status.success(), "stasis {} failed: {status}", arguments[0]);
        Ok(stdout)
    }

    /// The container must go, whatever became of the demo.
    fn clean_up(&self) {
        let mut remove = self.command(&["rm", "-f", CONTAINER]);
        let _ = remove.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,".contains(c);
    if argument.chars().all(plain) { argument.into() } else { format!("'{argument}'") }
}

fn wait(seconds: u64, why: &str) {
    println!("({why}: {seconds} s)");
    std::thread::sleep(Duration::from_secs(seconds));
}

/// The job's six commands; how many numbers were counted.
fn container(stasis: &Stasis) -> anyhow::Result<usize> {
    let unconfined = "--security-opt=seccomp:unconfined";
    let rootfs = ["--rootfs", "/:O", "/bin/sh", "-c", COUNTER];
    let run = [&["run", unconfined, "--name", CONTAINER, "-d"][..], &rootfs].concat();
    stasis.show(&run)?;
    wait(4, "it counts");
    check(&stasis.show(&["logs", CONTAINER])?)?;
    stasis.show(&["checkpoint", "create", CONTAINER, CHECKPOINT])?;
    let frozen = check(&stasis.show(&["logs", CONTAINER])?)?;
    wait(3, "it is on disk");
    let later = check(&stasis.show(&["logs", CONTAINER])?)?;
    ensure!(later == frozen, "it counted while it was frozen: {frozen}, then {later}");
    stasis.show(&["checkpoint", "ls", CONTAINER])?;
    stasis.show(&["start", "--checkpoint", CHECKPOINT, CONTAINER])?;
    wait(4, "it counts on");
    let counted = check(&stasis.show(&["logs", CONTAINER])?)?;
    ensure!(counted > frozen + 1, "it does not count on: {frozen}, then {counted}");
    stasis.show(&["checkpoint", "rm", CONTAINER, CHECKPOINT])?;
    Ok(counted)
}

/// Checks that a log is 0, 1, 2 and so on; how many numbers there are.
fn check(log: &str) -> anyhow::Result<usize> {
    let mut count = 0;
    for line in log.lines() {
        ensure!(line.trim() == count.to_string(), "{line:?} in the place of {count}");
        count += 1;
    }
    ensure!(count > 0, "nothing was counted");
    Ok(count)
}

/// A counter as a plain process, which writes to a file.
fn process(stasis: &Stasis, dir: &Path) -> anyhow::Result<usize> {
    let (log, images) = (dir.join("counter.log"), dir.join("images"));
    fs::create_dir(&images)?;
    let out = fs::File::create(&log)?;
    println!("$ setsid /bin/sh -c '{COUNTER}' > counter.log &");
    let mut counter = Command::new("setsid")
        .args(["/bin/sh", "-c", COUNTER])
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out)
        .current_dir("/")
        .spawn()
        .context("cannot start the counter")?;
    let pid = counter.id().to_string();
    let counted = freeze_and_thaw(stasis, &pid, &images, &log, &mut counter);
    // Restored, it has the same pid but is no child of ours any more.
    if let Some(pid) = rustix::process::Pid::from_raw(pid.parse()?) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    counted
}

fn freeze_and_thaw(
    stasis: &Stasis,
    pid: &str,
    images: &Path,
    log: &Path,
    counter: &mut std::process::Child,
) -> anyhow::Result<usize> {
    let images = images.display().to_string();
    let read = || check(&fs::read_to_string(log)?);
    wait(3, "it counts");
    stasis.show(&["process", "dump", "-t", pid, "-D", &images])?;
    counter.wait()?;
    let frozen = read()?;
    wait(2, "it is on disk");
    ensure!(read()? == frozen, "it counted while it was frozen");
    stasis.show(&["process", "restore", "-D", &images, "-d"])?;
    wait(3, "it counts on");
    println!("$ cat counter.log");
    print!("{}", fs::read_to_string(log)?);
    let counted = read()?;
    ensure!(counted > frozen + 1, "it does not count on: {frozen}, then {counted}");
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_repetitions_are_seen() {
        assert_eq!(check("0\n1\n2\n").unwrap(), 3);
        assert!(check("0\n2\n").is_err());
        assert!(check("0\n1\n1\n").is_err());
        assert!(check("").is_err());
    }

    #[test]
    fn arguments_are_printed_as_typed() {
        assert_eq!(quoted("--rootfs"), "--rootfs");
        assert_eq!(quoted("echo $i"), "'echo $i'");
    }
}
