//! Who holds the notes about a tree's memory between two commands.
//!
//! Notes live as long as somebody has their descriptors. When the rounds of a tree's memory are taken
//! by one command each, that is a *keeper*: a process of ours that does nothing but hold them. Whoever
//! takes the next round, or any checkpoint of the tree, takes the descriptors out of it (pidfd_getfd(2))
//! and ends it. It ends by itself with the tree's root. If somebody ends it before, the notes are gone
//! and the tree runs as if there had been none: the next round writes everything.

use std::{
    fs,
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{FdFlags, fcntl_setfd, retry_on_intr},
    process::{PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_send_signal, setsid},
};
use serde::{Deserialize, Serialize};
use stasis_engine::Tracking;

use crate::{
    error::{Context, Error, Result},
    home::Home,
    process::ProcessId,
    record,
    wait::wait_readable,
};

/// Said to a keeper when it is written down.
const WRITTEN_DOWN: &[u8] = b"k";

/// Whom to ask for what.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    root: ProcessId,
    keeper: ProcessId,
    round: String,
    /// Pids of the tree's processes, and the keeper's descriptors of their notes.
    notebooks: Vec<(i32, i32)>,
}

/// Keepers of trees, by the pid of the root.
#[derive(Clone, Debug)]
pub struct Keepers {
    dir: PathBuf,
}

impl Keepers {
    pub fn new(home: &Home) -> Keepers {
        Keepers { dir: home.runroot().join("tracking") }
    }

    /// Has the notes about the tree below `root` kept until somebody takes them.
    ///
    /// # Errors
    /// [`Error::Refused`] if no keeper can be started; then no notes are taken any more.
    pub fn keep(&self, root: i32, tracking: &Tracking) -> Result<()> {
        record::make_private_dir(&self.dir)?;
        let gone = || Error::invalid(format!("process {root} has ended"));
        let tree = ProcessId::probe(root).ok_or_else(gone)?;
        for (_, fd) in tracking.descriptors() {
            fcntl_setfd(fd, FdFlags::empty()).context("hand over", "a descriptor")?;
        }
        let path = self.path(root);
        let spawned = Command::new("/proc/self/exe")
            .args(["internal-keep", &root.to_string()])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        for (_, fd) in tracking.descriptors() {
            fcntl_setfd(fd, FdFlags::CLOEXEC).context("hand over", "a descriptor")?;
        }
        let mut child = spawned.context("start", "a keeper")?;
        let keeper = i32::try_from(child.id()).ok().and_then(ProcessId::probe).ok_or_else(gone)?;
        let notebooks = tracking.descriptors().map(|(pid, fd)| (pid, fd.as_raw_fd())).collect();
        let round = tracking.round().to_owned();
        record::write(&path, &Kept { root: tree.clone(), keeper, round, notebooks })?;
        // It ends by itself if it does not hear of this.
        let mut pipe = child.stdin.take().filter(|_| tree.is_alive()).ok_or_else(gone)?;
        pipe.write_all(WRITTEN_DOWN).context("talk to", "a keeper")?;
        // It lets go of our pipe when it stands by itself.
        let mut fds = [PollFd::new(&pipe, PollFlags::empty())];
        retry_on_intr(|| poll(&mut fds, None)).context("wait for", "a keeper")?;
        match child.try_wait().context("wait for", "a keeper")? {
            None => Ok(()),
            Some(_) => Err(Error::invalid("the keeper of what was noted has ended at once")),
        }
    }

    /// Takes the notes about the tree below `root`; `None` if nobody keeps any.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel.
    pub fn take(&self, root: i32) -> Result<Option<Tracking>> {
        let Some((kept, keeper)) = self.find(root)? else { return Ok(None) };
        let tracking = copy(&kept, &keeper)?;
        // Notes are ours alone when its descriptors are closed.
        match pidfd_send_signal(&keeper, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).context("end", "a keeper"),
        }
        wait_readable(&keeper, None)?;
        forget(&self.path(root))?;
        Ok(Some(tracking))
    }

    /// Looks at the notes, which stay with their keeper.
    ///
    /// # Errors
    /// As [`Keepers::take`].
    pub fn look(&self, root: i32) -> Result<Option<Tracking>> {
        self.find(root)?.map(|(kept, keeper)| copy(&kept, &keeper)).transpose()
    }

    fn find(&self, root: i32) -> Result<Option<(Kept, OwnedFd)>> {
        let path = self.path(root);
        if !path.exists() {
            return Ok(None);
        }
        let kept: Kept = record::read(&path)?;
        match (kept.root.is_alive(), kept.keeper.open()) {
            (true, Some(keeper)) => Ok(Some((kept, keeper))),
            (_, _) => forget(&path).map(|()| None),
        }
    }

    fn path(&self, root: i32) -> PathBuf {
        self.dir.join(format!("{root}.json"))
    }
}

fn copy(kept: &Kept, keeper: &OwnedFd) -> Result<Tracking> {
    let copy = |(pid, fd): &(i32, i32)| {
        let taken = pidfd_getfd(keeper, *fd, PidfdGetfdFlags::empty());
        Ok((*pid, taken.context("take a descriptor of", "a keeper")?))
    };
    let notebooks = kept.notebooks.iter().map(copy).collect::<Result<Vec<_>>>()?;
    Ok(Tracking::kept(kept.round.clone(), notebooks))
}

fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove", path.display())
        }
        _ => Ok(()),
    }
}

/// Body of `internal-keep`: holds what it has inherited until the root of the tree ends.
///
/// # Errors
/// What kept it from waiting.
pub fn main(root: i32, path: &Path) -> Result<()> {
    let Some(id) = ProcessId::probe(root) else { return Ok(()) };
    let Some(pidfd) = id.open() else { return Ok(()) };
    let mut word = [0];
    if std::io::stdin().read(&mut word).context("listen to", "the command")? == 0 {
        return Ok(());
    }
    let null = fs::File::open("/dev/null").context("open", "/dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd()).context("duplicate", "/dev/null")?;
    // That it leads a session already is fine.
    let _ = setsid();
    std::env::set_current_dir("/").context("enter", "/")?;
    wait_readable(&pidfd, None)?;
    let me = std::process::id().cast_signed();
    let is_mine = |kept: Kept| kept.keeper.pid == me;
    if record::read(path).is_ok_and(is_mine) { forget(path) } else { Ok(()) }
}
