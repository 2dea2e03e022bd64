//! A program of the zoo on its stage: started, frozen, told to go, judged, cleaned up.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, test_kill_process, waitpid};

use super::{
    command::{Outcome, stasis_process},
    tree::{self, Look},
};

const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(3);
/// Gives a program that has said ready the time to enter the system call it wants to be in.
const SETTLE: Duration = Duration::from_millis(60);

pub struct Play {
    /// What `check`, `dump` and `restore` are told besides.
    options: &'static [&'static str],
    dir: tempfile::TempDir,
    root: i32,
    /// For how long the tree stood still at least and at most.
    still: (Duration, Duration),
    nr_dumps: usize,
    /// The round of memory that the next one or the dump builds upon.
    round: Option<PathBuf>,
    /// What `stasis` said so far, told if the program fails.
    stories: Vec<String>,
}

impl Play {
    /// Starts a program and waits until it says ready.
    pub fn start(zoo: &Path, arguments: &[&str]) -> anyhow::Result<Play> {
        let dir = tempfile::Builder::new().prefix("zoo-").tempdir()?;
        // Programs that become another user still tell their result here.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
        let output = File::create(dir.path().join("output"))?;
        let mut command = Command::new(zoo);
        command.args(arguments).env_clear().env("ZOO_DIR", dir.path()).current_dir("/");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let root = i32::try_from(command.spawn().context("cannot start the program")?.id())?;
        let play = Play {
            options: &[],
            dir,
            root,
            still: (Duration::ZERO, Duration::ZERO),
            nr_dumps: 0,
            round: None,
            stories: vec![],
        };
        play.wait_until("ready", || play.path("ready").exists() || play.path("result").exists())?;
        ensure!(play.path("ready").exists(), "not even ready: {}", play.output());
        std::thread::sleep(SETTLE);
        Ok(play)
    }

    /// Sets options for `check`, `dump` and `restore`.
    pub fn with_options(mut self, options: &'static [&'static str]) -> Play {
        self.options = options;
        self
    }

    pub fn root(&self) -> i32 {
        self.root
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path("output")).unwrap_or_default()
    }

    fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !condition() {
            ensure!(start.elapsed() < PATIENCE, "never {what}: {}", self.describe());
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let mut text = self.output();
        for pid in tree::pids(self.root) {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
            let (stat, call) =
                (read("stat").unwrap_or_default(), read("syscall").unwrap_or_default());
            text += &format!("{} | {}", stat.chars().take(60).collect::<String>(), call);
        }
        text + &self.stories.join("\n")
    }

    /// Two looks at the tree with a moment between: only what is the same in both stands still.
    pub fn look_twice(&self) -> [Look; 2] {
        const OFTEN: usize = 20;
        let look = || {
            let first = tree::look(self.root);
            std::thread::sleep(Duration::from_millis(20));
            [first, tree::look(self.root)]
        };
        let mut looks = look();
        for _ in 0..OFTEN {
            if !looks.iter().any(tree::has_newborns) {
                break;
            }
            looks = look();
        }
        looks
    }

    /// Checks that the tree looks as before.
    pub fn compare(&self, before: &[Look; 2]) -> anyhow::Result<()> {
        if self.path("changes-by-itself").exists() {
            return Ok(());
        }
        let mut differences = Vec::new();
        // Tasks that are working may look different for a moment.
        for _ in 0..10 {
            differences = tree::differences(before, &tree::look(self.root));
            if differences.is_empty() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let (list, stories) = (differences.join("\n"), self.stories.join("\n"));
        bail!("the tree does not look as before:\n{list}\n{stories}")
    }

    fn images(&self) -> PathBuf {
        self.path(&format!("images-{}", self.nr_dumps))
    }

    fn stasis(&mut self, arguments: &[&str]) -> anyhow::Result<Outcome> {
        let outcome = stasis_process(self.dir.path(), arguments)?;
        self.stories.push(outcome.story());
        Ok(outcome)
    }

    pub fn check(&mut self) -> anyhow::Result<Outcome> {
        let root = self.root.to_string();
        let mut arguments = vec!["check", "-t", &root];
        arguments.extend(self.options);
        self.stasis(&arguments)
    }

    /// `stasis process dump`; whether it was refused is for the caller to judge.
    pub fn dump(&mut self, options: &[&str]) -> anyhow::Result<Outcome> {
        let outcome = self.freeze("dump", options)?;
        self.round = None;
        Ok(outcome)
    }

    /// `stasis process pre-dump`: one more round of memory.
    pub fn pre_dump(&mut self) -> anyhow::Result<Outcome> {
        let outcome = self.freeze("pre-dump", &["--track-mem"])?;
        self.round = Some(self.images());
        Ok(outcome)
    }

    /// Whether somebody keeps notes of what the tree writes to.
    pub fn is_tracked(&self) -> bool {
        let watched = |pid: i32| {
            let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
            smaps.lines().any(|line| line.starts_with("VmFlags:") && line.contains(" uw"))
        };
        tree::pids(self.root).into_iter().any(watched)
    }

    fn freeze(&mut self, verb: &str, options: &[&str]) -> anyhow::Result<Outcome> {
        self.nr_dumps += 1;
        let images = self.images();
        fs::create_dir(&images)?;
        let (root, images) = (self.root.to_string(), images.display().to_string());
        let mut arguments = vec![verb, "-t", &root, "-D", &images];
        let previous = self.round.as_ref().map(|dir| dir.display().to_string());
        if let Some(previous) = &previous {
            arguments.extend(["--prev-images-dir", previous]);
        }
        arguments.extend(options);
        arguments.extend(self.options);
        let outcome = self.stasis(&arguments)?;
        self.still.1 += outcome.ended - outcome.began;
        Ok(outcome)
    }

    /// Dumps the tree, sees that it is gone, and restores it.
    pub fn dump_and_restore(&mut self) -> anyhow::Result<()> {
        let dumped = self.dump(&[])?.expect_success()?;
        self.reap(&self.dumped_pids()?)?;
        let restored = self.restore()?;
        // The dump's own time is counted already.
        self.still.0 += restored.began - dumped.ended;
        self.still.1 += restored.ended - dumped.ended;
        Ok(())
    }

    /// Pids of the last dump: some may have been born while it began.
    fn dumped_pids(&self) -> anyhow::Result<Vec<i32>> {
        let names = fs::read_dir(self.images())?.flatten().map(|entry| entry.file_name());
        let pid = |name: std::ffi::OsString| {
            name.to_str()?.strip_prefix("core-")?.strip_suffix(".img")?.parse().ok()
        };
        Ok(names.filter_map(pid).collect())
    }

    /// Collects the ended tasks of the tree, which leave their pids free for a restore.
    fn reap(&self, pids: &[i32]) -> anyhow::Result<()> {
        for &pid in pids {
            let Some(pid) = Pid::from_raw(pid) else { continue };
            let gone = || {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
                test_kill_process(pid).is_err()
            };
            self.wait_until(&format!("dead after the dump: task {pid:?}"), gone)?;
        }
        Ok(())
    }

    fn restore(&mut self) -> anyhow::Result<Outcome> {
        let (images, pidfile) = (self.images(), self.path(&format!("pid-{}", self.nr_dumps)));
        let (images, pidfile) = (images.display().to_string(), pidfile.display().to_string());
        let mut arguments = vec!["restore", "-D", &images, "-d", "--pidfile", &pidfile];
        arguments.extend(self.options);
        let outcome = self.restore_when_free(&arguments)?.expect_success()?;
        let pid = fs::read_to_string(&pidfile).context("no pid file")?;
        ensure!(pid.trim() == self.root.to_string(), "the root's pid is {pid}, not {}", self.root);
        Ok(outcome)
    }

    /// Other plays may have one of the pids for a moment: then it says to try again.
    fn restore_when_free(&mut self, arguments: &[&str]) -> anyhow::Result<Outcome> {
        const MOST: usize = 50;
        for _ in 0..MOST {
            let outcome = self.stasis(arguments)?;
            if !outcome.stderr.contains("was taken meanwhile") {
                return Ok(outcome);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.stasis(arguments)
    }

    /// Says go, and gives the program's own verdict.
    pub fn verdict(&self) -> anyhow::Result<()> {
        let draft = self.path("go.draft");
        fs::write(&draft, format!("{} {}\n", self.still.0.as_nanos(), self.still.1.as_nanos()))?;
        fs::rename(draft, self.path("go"))?;
        let over = || self.path("result").exists() || self.is_over();
        self.wait_until("a result", over)?;
        let Ok(result) = fs::read_to_string(self.path("result")) else {
            bail!("ended without a result: {}", self.describe())
        };
        ensure!(result == "pass", "{result}\n{}{}", self.output(), self.stories.join("\n"));
        self.expect_exit()
    }

    fn is_over(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.root)).unwrap_or_default();
        // A moment later its result would be there.
        let over = stat.is_empty() || stat.contains(") Z ");
        if over {
            std::thread::sleep(Duration::from_millis(50));
        }
        over
    }

    fn expect_exit(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.root).context("pid 0")?;
        let mut status = None;
        self.wait_until("ended", || {
            status = waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten();
            status.is_some() || test_kill_process(pid).is_err()
        })?;
        let (_, status) = status.context("the root is not our child any more")?;
        ensure!(status.exit_status() == Some(0), "the program ended with {status:?}");
        Ok(())
    }
}

/// Whatever happened: nobody of the tree stays.
impl Drop for Play {
    fn drop(&mut self) {
        for _ in 0..100 {
            let left = players(self.dir.path());
            if left.is_empty() {
                break;
            }
            for pid in left.into_iter().filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        if let Some(root) = Pid::from_raw(self.root) {
            let _ = waitpid(Some(root), WaitOptions::NOHANG);
        }
        for number in 1..=self.nr_dumps {
            lift_lock(&self.path(&format!("images-{number}/inventory.img")));
        }
    }
}

/// Who is on disk for ever needs no peers to be kept away.
fn lift_lock(inventory: &Path) {
    const UUID_BYTES: usize = 36;
    let bytes = fs::read(inventory).unwrap_or_default();
    let is_id = |part: &&[u8]| part.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    let Some(id) = bytes.windows(UUID_BYTES).find(is_id) else { return };
    let name = format!("CRIU-{}", String::from_utf8_lossy(id));
    if let Ok(namespace) = File::open("/proc/self/ns/net") {
        let _ = stasis_network::lift_lock(namespace.as_fd(), &name);
    }
}

/// Processes with this stage in their environment.
fn players(dir: &Path) -> Vec<i32> {
    let wanted = format!("ZOO_DIR={}\0", dir.display());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let plays = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(wanted.len()).any(|part| part == wanted.as_bytes())
    };
    pids.filter(plays).collect()
}
