//! TCP connections on their way through a checkpoint and back: who keeps the network away from them, and
//! when.

use std::{
    fs::File,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use stasis_files::Facts;
use stasis_model::{Loss, NamespaceKind, Obstacle, Subject, Tree};
use stasis_objects::{
    Gathering, Thawing,
    tcp_connection::{self, Ends, Keeping, Met},
};

use crate::{abandoned::Abandoned, facade::Error};

/// Says what can be done about a connection that nobody has asked to keep.
pub const HINT: &str =
    "use --tcp-established to keep it, or --tcp-close to close it; or wait until it is closed";

/// Keeps the network away from connections; the caller of the engine provides it.
pub trait NetworkLock {
    /// Drops the segments of these connections from now on, in both directions and before anything in
    /// the kernel answers them.
    ///
    /// # Errors
    /// In words, if it cannot be done.
    fn lock(&self, locking: &Locking<'_>) -> Result<Box<dyn LockGuard>, LockError>;

    /// Goes on with that under a name when the guard has gone, until somebody lifts it: a host answers
    /// for sockets that are away.
    ///
    /// # Errors
    /// In words, if it cannot be done.
    fn stay(&self, locking: &Locking<'_>, name: &str) -> Result<(), LockError>;

    /// Ends what [`NetworkLock::stay`] began; that there is no such thing is fine.
    ///
    /// # Errors
    /// In words, if it cannot be done.
    fn lift(&self, namespace: BorrowedFd<'_>, name: &str) -> Result<(), LockError>;
}

/// The network is kept away as long as it lives; its end cannot fail, [`LockGuard::release`] tells when
/// it has come.
pub trait LockGuard {
    /// Lets the network come back.
    ///
    /// # Errors
    /// In words, if it cannot be done.
    fn release(self: Box<Self>) -> Result<(), LockError>;
}

pub type LockError = Box<dyn std::error::Error + Send + Sync>;

/// What is to be locked.
#[derive(Clone, Copy, Debug)]
pub struct Locking<'a> {
    pub namespace: BorrowedFd<'a>,
    pub namespace_of: NamespaceOf,
    pub connections: Locked<'a>,
    /// Segments with this mark (`SO_MARK`) are ours and pass.
    pub passing_mark: u32,
}

/// Whose a network namespace is, and so how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceOf {
    /// It goes with the tree, a moment later.
    Tree,
    Others,
}

#[derive(Clone, Copy, Debug)]
pub enum Locked<'a> {
    /// The network namespace is the tree's own.
    All,
    /// Local and remote ends of each.
    These(&'a [(SocketAddr, SocketAddr)]),
}

/// What a checkpoint does with TCP connections.
#[derive(Clone, Copy)]
pub enum FrozenConnections<'a> {
    /// They are an obstacle.
    Refused,
    Kept(&'a dyn NetworkLock),
    /// They are kept, too, but who restores is elsewhere: when the tree ends here, its peers hear of it.
    Parted(&'a dyn NetworkLock),
    /// The checkpoint tells that there were some; a restore gives sockets whose connection was reset.
    Closed,
}

/// The same, for a look at a tree that runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurveyedConnections {
    Refused,
    Kept,
    Closed,
}

impl FrozenConnections<'_> {
    pub(crate) fn surveyed(self) -> SurveyedConnections {
        match self {
            FrozenConnections::Refused => SurveyedConnections::Refused,
            FrozenConnections::Kept(_) | FrozenConnections::Parted(_) => SurveyedConnections::Kept,
            FrozenConnections::Closed => SurveyedConnections::Closed,
        }
    }
}

/// What a restore does with TCP connections.
#[derive(Clone, Copy)]
pub enum ThawedConnections<'a> {
    /// They are an obstacle.
    Refused,
    Kept(Keeping, &'a dyn NetworkLock),
    Closed(&'a dyn NetworkLock),
}

impl ThawedConnections<'_> {
    fn keeping(self) -> Keeping {
        match self {
            ThawedConnections::Kept(keeping, _) => keeping,
            ThawedConnections::Refused | ThawedConnections::Closed(_) => Keeping::Nothing,
        }
    }
}

/// The connections of a stopped tree.
pub struct Frozen<'a> {
    met: Vec<Met>,
    ending: Ending,
    /// Where the tree was, somebody answers for it: the host, or for a moment its own empty namespace.
    stay: Option<Stay<'a>>,
    /// Goes last.
    lock: Option<Box<dyn LockGuard>>,
}

/// How the connections of a tree that is killed end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Somebody goes on with them.
    Silent,
    /// Somebody elsewhere has the tree, and nobody its connections.
    ResetBefore,
    /// Nobody has anything of them.
    Reset,
}

/// A lock for the time in which a tree is on disk.
struct Stay<'a> {
    lock: &'a dyn NetworkLock,
    namespace: OwnedFd,
    namespace_of: NamespaceOf,
    /// `dump_criu_run_id`: who restores finds the lock by it.
    run_id: String,
}

/// Name of a lock that outlives its maker. CRIU calls its own so, and lifts it by that name.
fn name_of_stay(run_id: &str) -> String {
    format!("CRIU-{run_id}")
}

impl<'a> Frozen<'a> {
    /// Freezes what was met, or lets it be closed. From here on until the end of what is returned the
    /// network is kept away from what was frozen.
    ///
    /// # Errors
    /// By the kernel or the lock. What nobody wanted to keep becomes an obstacle.
    pub fn freeze(
        gathering: &mut Gathering,
        wanted: FrozenConnections<'a>,
        root: i32,
    ) -> Result<Frozen<'a>, Error> {
        let met = std::mem::take(&mut gathering.connections);
        let mut frozen = Frozen { met, ending: Ending::Reset, stay: None, lock: None };
        match wanted {
            FrozenConnections::Closed => {}
            FrozenConnections::Refused => {
                for met in &frozen.met {
                    let reason = format!("a TCP connection to {}", met.ends.remote);
                    gathering.obstacle(met.subject.clone(), reason, Some(HINT));
                }
            }
            _ if frozen.met.is_empty() => {}
            FrozenConnections::Parted(lock) => {
                frozen.freeze_all(gathering, lock, root)?;
                frozen.ending = Ending::ResetBefore;
            }
            FrozenConnections::Kept(lock) => {
                let (namespace, namespace_of) = frozen.freeze_all(gathering, lock, root)?;
                frozen.ending = Ending::Silent;
                let run_id = new_run_id()?;
                frozen.stay = Some(Stay { lock, namespace, namespace_of, run_id });
            }
        }
        Ok(frozen)
    }

    /// Keeps the network away and freezes what was met; gives the namespace, and whose it is.
    fn freeze_all(
        &mut self,
        gathering: &mut Gathering,
        lock: &dyn NetworkLock,
        root: i32,
    ) -> Result<(OwnedFd, NamespaceOf), Error> {
        let ends: Vec<Ends> = self.met.iter().map(|met| met.ends).collect();
        let is_own = gathering.tree.namespaces.owns(NamespaceKind::Net);
        let namespace = open_namespace(root)?;
        self.lock = Some(lock_these(lock, namespace.as_fd(), &ends, is_own)?);
        for met in &self.met {
            tcp_connection::freeze(met, gathering)?;
        }
        Ok((namespace, if is_own { NamespaceOf::Tree } else { NamespaceOf::Others }))
    }

    /// By what a restore finds the lock that stays.
    pub fn run_id(&self) -> Option<String> {
        let lasting = self.stay.as_ref().filter(|stay| stay.namespace_of == NamespaceOf::Others);
        lasting.map(|stay| stay.run_id.clone())
    }

    /// Ends the connections of a stopped tree that somebody elsewhere has, while they can still be
    /// reached. Tells what did not go well.
    pub fn part(&mut self) -> Vec<Loss> {
        if self.ending != Ending::ResetBefore {
            return Vec::new();
        }
        // The peer of which something was lost on the way asks once more.
        self.lock = None;
        let failed = |met: &Met| Some((met.subject.clone(), met.reset_now().err()?));
        let loss = |(subject, error)| Loss {
            subject,
            reason: format!("the peer may not have heard of the end of the connection: {error}"),
        };
        self.met.iter().filter_map(failed).map(loss).collect()
    }

    /// Ends the connections of a tree that is gone: those that were frozen without a word, the others
    /// with a reset. Tells what did not go well.
    pub fn end(self) -> Vec<Loss> {
        let mut losses = Vec::new();
        if let Some(Err(error)) = self.stay.as_ref().map(|stay| stay.begin(&self.met)) {
            let reason =
                format!("nobody keeps the peers of TCP connections away from here: {error}");
            losses.push(Loss { subject: Subject::Tree, reason });
        }
        for met in self.met {
            let subject = met.subject.clone();
            let ended = match self.ending {
                Ending::Silent => met.end_silently(),
                Ending::ResetBefore => Ok(()),
                Ending::Reset => met.reset(),
            };
            if let Err(error) = ended {
                let reason =
                    format!("the peer may have heard of the end of the connection: {error}");
                losses.push(Loss { subject, reason });
            }
        }
        losses
    }
}

impl Stay<'_> {
    fn begin(&self, met: &[Met]) -> Result<(), LockError> {
        let ends: Vec<_> = met.iter().map(|met| (met.ends.local, met.ends.remote)).collect();
        let locking = Locking {
            namespace: self.namespace.as_fd(),
            namespace_of: self.namespace_of,
            connections: Locked::These(&ends),
            passing_mark: tcp_connection::REPAIR_MARK,
        };
        self.lock.stay(&locking, &name_of_stay(&self.run_id))
    }
}

fn new_run_id() -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Error::Failed(format!("cannot read {path}: {error}")))?;
    Ok(text.trim().to_owned())
}

/// `is_own`: nobody else is in the network namespace.
fn lock_these(
    lock: &dyn NetworkLock,
    namespace: BorrowedFd<'_>,
    ends: &[Ends],
    is_own: bool,
) -> Result<Box<dyn LockGuard>, Error> {
    let ends: Vec<_> = ends.iter().map(|ends| (ends.local, ends.remote)).collect();
    let (namespace_of, connections) = match is_own {
        true => (NamespaceOf::Tree, Locked::All),
        false => (NamespaceOf::Others, Locked::These(&ends)),
    };
    let passing_mark = tcp_connection::REPAIR_MARK;
    lock.lock(&Locking { namespace, namespace_of, connections, passing_mark }).map_err(|error| {
        Error::Failed(format!("cannot keep the network away from TCP connections: {error}"))
    })
}

/// What stands in the way of a restore of these connections.
pub fn obstacles(tree: &Tree, wanted: ThawedConnections<'_>) -> Vec<Obstacle> {
    match wanted {
        ThawedConnections::Kept(..) | ThawedConnections::Closed(_) => Vec::new(),
        ThawedConnections::Refused => tree
            .connections()
            .filter(|socket| socket.connection.is_some())
            .map(|socket| {
                let name =
                    Ends::of(socket).map_or("a TCP connection".into(), |ends| ends.to_string());
                let reason = "nobody has said what becomes of it";
                Obstacle::lasting(Subject::Named(name), reason, Some(RESTORE_HINT))
            })
            .collect(),
    }
}

const RESTORE_HINT: &str = "use --tcp-established to keep it, or --tcp-close to close it";

/// What the connections of a tree that is to come back need.
pub struct Thawed<'a> {
    pub keeping: Keeping,
    pub namespace: OwnedFd,
    lock: Option<Box<dyn LockGuard>>,
    /// Who lifts the lock that stayed, and its name.
    stay: Option<(&'a dyn NetworkLock, String)>,
    abandoned: Abandoned,
}

impl<'a> Thawed<'a> {
    /// Keeps the network away from the connections of the checkpoint; `None` if there are none, and none
    /// that were abandoned.
    ///
    /// # Errors
    /// By the kernel or the lock.
    pub fn prepare(
        tree: &Tree,
        facts: &Facts,
        (wanted, abandoned): (ThawedConnections<'a>, Abandoned),
        root: i32,
    ) -> Result<Option<Thawed<'a>>, Error> {
        if tree.connections().next().is_none() && abandoned.is_empty() {
            return Ok(None);
        }
        let namespace = open_namespace(root)?;
        let kept = tree.connections().filter(|socket| socket.connection.is_some());
        let ends = kept.chain(abandoned.sockets()).map(Ends::of);
        let ends: Vec<Ends> = ends.collect::<stasis_objects::Result<_>>()?;
        let is_own = tree.namespaces.owns(NamespaceKind::Net);
        let (lock, locks) = match wanted {
            ThawedConnections::Kept(_, lock) if !ends.is_empty() => {
                (Some(lock_these(lock, namespace.as_fd(), &ends, is_own)?), Some(lock))
            }
            ThawedConnections::Kept(_, lock) | ThawedConnections::Closed(lock) => {
                (None, Some(lock))
            }
            ThawedConnections::Refused => (None, None),
        };
        let name = facts.run_id.as_deref().filter(|id| is_run_id(id)).map(name_of_stay);
        let (keeping, stay) = (wanted.keeping(), locks.zip(name));
        Ok(Some(Thawed { keeping, namespace, lock, stay, abandoned }))
    }

    /// Lets the network come back, ends the repair mode of the restored connections, and tells the peers
    /// of those that were abandoned.
    ///
    /// # Errors
    /// By the lock or the kernel.
    pub fn settle(self, thawing: &mut Thawing<'_>) -> Result<(), Error> {
        let Thawed { namespace, lock, stay, abandoned, .. } = self;
        let cannot = |error| Error::Failed(format!("cannot let the network back: {error}"));
        if let Some((lock, name)) = stay {
            lock.lift(namespace.as_fd(), &name).map_err(cannot)?;
        }
        lock.map_or(Ok(()), LockGuard::release).map_err(cannot)?;
        tcp_connection::settle(thawing)?;
        // Not before: a connection that was closed is in the way of another one with the same ends.
        thawing.losses.extend(abandoned.tell_peers(namespace.as_fd()));
        Ok(())
    }
}

/// It comes from outside, and somebody else's table must not be meant by it.
fn is_run_id(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// The network namespace of a process.
///
/// # Errors
/// If it cannot be opened.
pub fn open_namespace(pid: i32) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/ns/net");
    let opened = File::open(&path);
    opened.map(OwnedFd::from).map_err(|error| Error::Failed(format!("cannot open {path}: {error}")))
}
