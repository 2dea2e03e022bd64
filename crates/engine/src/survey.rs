//! A look at a running tree without touching it: what would stand in the way of a checkpoint.

use std::os::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    unix::ffi::OsStrExt,
};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use stasis_model::{Loss, NamespaceKind, Obstacle, Subject};
use stasis_objects::{
    address_space, descriptor, file_lock, inet_socket, inotify, interrupted_call,
    sharing::{self, Between},
    system_v::attachment,
    tcp_connection,
    terminal::{self, Outside, ShellTerminal},
    unix_socket,
};
use stasis_proctext::maps::Mapping;
use stasis_sys::Errno;
use stasis_tracee::{FEW, ProcDir, Sleepers};

use crate::{
    awake::Awake,
    connections,
    facade::{Error, Externals, SurveyedConnections},
    ipc, namespaces, patience,
    tracking::Tracking,
};

/// Tells what stands in the way of a checkpoint (first) and what it would leave out (second), without
/// touching the tree. What may pass by itself gets two seconds. Memory that is watched for rounds of ours
/// is no obstacle.
///
/// # Errors
/// [`Error::Failed`] if the tree cannot be looked at, for instance because the root does not exist.
pub fn check(
    root: i32,
    externals: &Externals,
    connections: SurveyedConnections,
    tracking: Option<&Tracking>,
) -> Result<(Vec<Obstacle>, Vec<Loss>), Error> {
    let wanted = (Between::ProcessesAndThreads, connections);
    let findings = patience::until_passed(
        || look(root, externals, (&outside(externals), tracking), wanted),
        |looked| looked.as_ref().map_or(Vec::new(), |found| found.obstacles.clone()),
    )?;
    Ok((findings.obstacles, findings.losses))
}

/// What was seen of a running tree.
#[derive(Debug)]
pub struct Findings {
    pub obstacles: Vec<Obstacle>,
    pub losses: Vec<Loss>,
    /// How many threads there were.
    pub nr_threads: usize,
    tree: Vec<ProcDir>,
    watched: Watched,
}

/// Readings of sleepers that were taken in passing, and of which processes.
#[derive(Debug, Default)]
struct Watched {
    sleepers: Sleepers,
    pids: Vec<i32>,
}

impl Findings {
    /// How long the threads of the tree have been asleep, as of now; where they are many, as of a few milliseconds
    /// ago.
    pub fn sleepers(&mut self) -> Sleepers {
        let Watched { mut sleepers, pids } = std::mem::take(&mut self.watched);
        for proc in self.tree.iter().filter(|proc| !pids.contains(&proc.pid())) {
            // Who has ended since does not sleep.
            let _ = sleepers.look_at(proc, interrupted_call::watch);
        }
        sleepers
    }
}

/// Terminals that may have their master outside.
fn outside(externals: &Externals) -> Outside {
    let console = externals.console.as_deref().and_then(terminal::index_in_path);
    Outside { console, shell: None }
}

/// The same for the job of a shell.
fn outside_of_job(root: i32, externals: &Externals) -> Outside {
    let stat = ProcDir::open(root).and_then(|proc| proc.stat());
    let index = stat.ok().and_then(|stat| terminal::controlling_index(&stat));
    Outside { shell: Some(ShellTerminal(index)), ..outside(externals) }
}

/// Terminals that may lie outside, for the job of a shell or for a tree of its own.
pub fn outside_for(root: i32, shell_job: bool, externals: &Externals) -> Outside {
    if shell_job { outside_of_job(root, externals) } else { outside(externals) }
}

/// As [`check`], with more terminals that may lie outside. A checkpoint looks at the many threads of
/// its processes once, when they stand.
pub fn look(
    root: i32,
    externals: &Externals,
    (outside, tracking): (&Outside, Option<&Tracking>),
    (between, connections): (Between, SurveyedConnections),
) -> Result<Findings, Error> {
    let tree = open_tree(root)?;
    let nr_threads = tree.iter().filter_map(|proc| proc.nr_threads().ok()).sum();
    let _awake = Awake::for_threads(nr_threads);
    let others: Vec<&ProcDir> = tree.iter().skip(1).collect();
    let own = namespaces::own(&tree[0]);
    let scope = Scope { between, connections, tracking, own };
    let mut seen = scope.tree(&tree)?;
    seen.obstacles.extend(namespaces::apart(&tree[0], &others));
    seen.obstacles.extend(namespaces::obstacles(&tree[0], &scope.own, externals));
    seen.obstacles.extend(namespaces::strangers(&tree, &scope.own, externals));
    let (of_namespace, undone) = ipc::survey(&tree, &scope.own)?;
    seen.obstacles.extend(of_namespace);
    seen.losses.extend(undone);
    seen.obstacles.extend(sharing::obstacles(&tree, between)?);
    seen.foreign_peers(&tree[0])?;
    seen.obstacles.extend(terminal::obstacles(&seen.terminals, outside));
    let mut losses = seen.one_ended_pipes(externals);
    losses.append(&mut seen.losses);
    let Seen { obstacles, watched, .. } = seen;
    Ok(Findings { obstacles, losses, nr_threads, tree, watched })
}

fn open_tree(root: i32) -> Result<Vec<ProcDir>, Error> {
    let first =
        ProcDir::open(root).map_err(|_| Error::Failed(format!("there is no process {root}")))?;
    let mut tree = vec![first];
    let mut index = 0;
    while index < tree.len() {
        for child in tree[index].children().unwrap_or_default() {
            tree.extend(ProcDir::open(child));
        }
        index += 1;
    }
    Ok(tree)
}

/// What a look at a process must know of the tree.
struct Scope<'a> {
    between: Between,
    connections: SurveyedConnections,
    tracking: Option<&'a Tracking>,
    /// Kinds of namespaces that the tree has for itself.
    own: Vec<NamespaceKind>,
}

/// What was seen of one process, or of all.
#[derive(Default)]
struct Seen {
    obstacles: Vec<Obstacle>,
    /// Pipe ends: link, whether it writes, and who has it.
    pipes: Vec<(Vec<u8>, u32, Subject)>,
    sockets: Vec<(u64, Subject)>,
    losses: Vec<Loss>,
    terminals: Vec<terminal::Found>,
    watched: Watched,
}

impl Scope<'_> {
    /// Looks at all processes, side by side.
    fn tree(&self, tree: &[ProcDir]) -> Result<Seen, Error> {
        // Waking the other processors takes longer than looking at so few.
        const FEW_PROCESSES: usize = 4;
        let looked: Vec<_> = match tree.len() {
            ..FEW_PROCESSES => tree.iter().map(|proc| self.process(proc)).collect(),
            _ => tree.par_iter().map(|proc| self.process(proc)).collect(),
        };
        let mut all = Seen::default();
        for (proc, looked) in tree.iter().zip(looked) {
            match looked {
                Ok(seen) => all.add(seen),
                // It ended while we were looking, which is its right.
                Err(stasis_objects::Error::Tracee(stasis_tracee::Error::Died { .. })) => {}
                Err(_) if ProcDir::open(proc.pid()).is_err() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    fn process(&self, proc: &ProcDir) -> stasis_objects::Result<Seen> {
        let mut seen = Seen::default();
        let stat = proc.stat()?;
        if stat.state == b'Z' {
            return Ok(seen);
        }
        let name = String::from_utf8_lossy(&stat.name).into_owned();
        let subject = Subject::Task { pid: proc.pid(), name: name.clone() };
        let status = proc.status()?;
        if status.tracer != 0 {
            seen.obstacle(subject.clone(), format!("is being traced by process {}", status.tracer));
        }
        match terminal::of_leader(&stat, &subject) {
            Some(Ok(found)) => seen.terminals.push(found),
            Some(Err(reason)) => seen.obstacle(subject.clone(), reason),
            None => {}
        }
        let nr_threads = usize::try_from(status.nr_threads).unwrap_or(0);
        let look = || (self.mappings(proc, &stat.name, nr_threads), has_memory_policy(proc));
        let (of_mappings, has_policy) = match nr_threads {
            FEW.. => {
                let watch = || seen.watched.sleepers.look_at(proc, interrupted_call::watch);
                let (looked, watched) = rayon::join(look, watch);
                if watched.is_ok() {
                    seen.watched.pids.push(proc.pid());
                }
                looked
            }
            _ => look(),
        };
        seen.add(of_mappings?);
        if has_policy {
            let reason = "its NUMA memory policy".into();
            seen.losses.push(Loss { subject, reason });
        }
        self.descriptors(proc, &name, &mut seen)?;
        Ok(seen)
    }

    fn mappings(
        &self,
        proc: &ProcDir,
        name: &[u8],
        nr_threads: usize,
    ) -> stasis_objects::Result<Seen> {
        let mut seen = Seen::default();
        for map in self.read_mappings(proc, nr_threads)? {
            let subject = || address_space::subject_of(proc.pid(), name, &map);
            if let Some(reason) = address_space::loss_of(&map) {
                seen.losses.push(Loss { subject: subject(), reason: reason.into() });
            }
            if let Some(reason) = self.obstacle_of(proc.pid(), &map) {
                seen.obstacle(subject(), reason);
            }
            if attachment::is_attachment(&map) && !self.own.contains(&NamespaceKind::Ipc) {
                let (reason, hint) = attachment::SHARED;
                seen.obstacles.push(Obstacle::lasting(subject(), reason, Some(hint)));
            }
        }
        Ok(seen)
    }

    /// With their flags; but a checkpoint reads those of a process with many threads once, when it stands: the kernel
    /// takes long to tell them, and as a rule names tell all that matters here.
    fn read_mappings(
        &self,
        proc: &ProcDir,
        nr_threads: usize,
    ) -> stasis_objects::Result<Vec<Mapping>> {
        if self.between == Between::Processes && nr_threads >= FEW {
            let maps = proc.maps()?;
            if !maps.iter().any(address_space::may_be_of_device) {
                return Ok(maps);
            }
        }
        Ok(proc.smaps()?)
    }

    fn descriptors(
        &self,
        proc: &ProcDir,
        name: &str,
        seen: &mut Seen,
    ) -> stasis_objects::Result<()> {
        for fd in proc.descriptors()? {
            // Whoever runs may close a descriptor while we look.
            let Ok(open) = descriptor::look_from_outside(proc, name, fd) else { continue };
            if let Some(reason) = file_lock::obstacle(&open.info) {
                seen.obstacle(open.subject(), reason.into());
            }
            let link = open.link.as_os_str().as_bytes();
            match descriptor::kind_of(&open) {
                descriptor::Kind::Obstacle(reason) => seen.obstacle(open.subject(), reason),
                descriptor::Kind::Socket => {
                    let Some(taken) = take(proc, fd)? else { continue };
                    match self.socket(taken.as_fd()) {
                        Ok(loss) => {
                            seen.sockets.push((open.stat.st_ino, open.subject()));
                            let loss = loss.map(|reason| Loss { subject: open.subject(), reason });
                            seen.losses.extend(loss);
                        }
                        Err((reason, hint)) => {
                            let subject = open.subject();
                            seen.obstacles.push(Obstacle::lasting(subject, reason, hint));
                        }
                    }
                }
                descriptor::Kind::Inotify => {
                    let Some(taken) = take(proc, fd)? else { continue };
                    let reason = inotify::loss(taken.as_fd());
                    seen.losses
                        .extend(reason.map(|reason| Loss { subject: open.subject(), reason }));
                }
                descriptor::Kind::Terminal => {
                    let Some(taken) = take(proc, fd)? else { continue };
                    match terminal::identify(taken.as_fd(), open.stat.st_rdev) {
                        Ok(end) => {
                            seen.terminals.push(terminal::Found { end, subject: open.subject() });
                        }
                        Err(reason) => seen.obstacle(open.subject(), reason),
                    }
                }
                descriptor::Kind::Pipe => {
                    seen.pipes.push((link.to_vec(), open.flags() & 3, open.subject()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells what of a socket is not kept; fails if nothing of it can be.
    fn socket(
        &self,
        socket: BorrowedFd<'_>,
    ) -> Result<Option<String>, (String, Option<&'static str>)> {
        let family =
            descriptor::socket_obstacle_or_family(socket).map_err(|reason| (reason, None))?;
        if family == 1 {
            return Ok(None);
        }
        if !tcp_connection::is_connection(socket) {
            return Ok(inet_socket::loss(socket));
        }
        match self.connections {
            SurveyedConnections::Refused => {
                Err((tcp_connection::describe(socket), Some(connections::HINT)))
            }
            SurveyedConnections::Kept => match tcp_connection::obstacle(socket) {
                Some(reason) => Err((reason, None)),
                None => Ok(None),
            },
            SurveyedConnections::Closed => {
                Ok(Some(format!("{}, which is closed", tcp_connection::describe(socket))))
            }
        }
    }

    fn obstacle_of(&self, pid: i32, map: &Mapping) -> Option<String> {
        let is_ours = |tracking: &Tracking| tracking.is_ours(pid, &map.range);
        match address_space::is_watched(map) && self.tracking.is_some_and(is_ours) {
            true => address_space::obstacle_but_for_watching(map),
            false => address_space::obstacle_of(map),
        }
    }
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.obstacles.extend(other.obstacles);
        self.pipes.extend(other.pipes);
        self.sockets.extend(other.sockets);
        self.losses.extend(other.losses);
        self.terminals.extend(other.terminals);
        self.watched.sleepers.add(other.watched.sleepers);
        self.watched.pids.extend(other.watched.pids);
    }

    fn obstacle(&mut self, subject: Subject, reason: String) {
        self.obstacles.push(Obstacle::lasting(subject, reason, None));
    }

    /// Unix sockets connected to somebody outside the tree.
    fn foreign_peers(&mut self, root: &ProcDir) -> Result<(), Error> {
        if self.sockets.is_empty() {
            return Ok(());
        }
        let told = unix_socket::survey(root)?;
        let sockets = std::mem::take(&mut self.sockets);
        for (inode, subject) in &sockets {
            let waits = told.values().any(|listener| {
                listener.waiting_clients.iter().any(|client| u64::from(*client) == *inode)
            });
            if waits && has_sent(subject) {
                self.obstacle(subject.clone(), unix_socket::SENT_TOO_EARLY.into());
            }
            let socket = u32::try_from(*inode).ok().and_then(|inode| told.get(&inode));
            let Some(peer) = socket.and_then(|socket| socket.peer).filter(|peer| *peer != 0) else {
                continue;
            };
            if !sockets.iter().any(|(other, _)| *other == u64::from(peer)) {
                let reason = format!("a unix socket connected to socket:[{peer}] outside the tree");
                self.obstacle(subject.clone(), reason);
            }
        }
        Ok(())
    }

    /// Pipes whose other end lies outside the tree: they are cut.
    fn one_ended_pipes(&self, externals: &Externals) -> Vec<Loss> {
        let mut losses: Vec<Loss> = Vec::new();
        let mut told: Vec<&[u8]> = Vec::new();
        for (link, mode, subject) in &self.pipes {
            let external = externals.files.iter().any(|key| key.as_bytes() == link.as_slice());
            let other_end = |candidate: &&(Vec<u8>, u32, Subject)| {
                candidate.0 == *link && (candidate.1 != *mode || candidate.1 == 2)
            };
            if external
                || self.pipes.iter().any(|pipe| other_end(&pipe))
                || told.contains(&link.as_slice())
            {
                continue;
            }
            told.push(link);
            if !pipe_has_other_end(subject) {
                continue;
            }
            let reason =
                "the other end of this pipe is outside the tree; after a restore nobody is there";
            losses.push(Loss { subject: subject.clone(), reason: reason.into() });
        }
        losses
    }
}

/// Whether anybody has the other end of a pipe open; if not, there is nothing to be cut.
fn pipe_has_other_end(subject: &Subject) -> bool {
    let Subject::Descriptor { pid, fd, .. } = subject else { return true };
    let Ok(taken) = ProcDir::open(*pid).and_then(|proc| proc.take_fd(*fd)) else { return true };
    let nothing = rustix::event::PollFlags::empty();
    let mut polled = [rustix::event::PollFd::new(&taken, nothing)];
    let gone = rustix::event::PollFlags::HUP | rustix::event::PollFlags::ERR;
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).is_err() || !polled[0].revents().intersects(gone)
}

/// Takes a file into our own table for a moment, which nobody notices; `None` if it was closed meanwhile.
fn take(proc: &ProcDir, fd: i32) -> stasis_objects::Result<Option<OwnedFd>> {
    match proc.take_fd(fd) {
        Ok(taken) => Ok(Some(taken)),
        Err(stasis_tracee::Error::Kernel { errno: Errno::BADF, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether what was written to a socket has not been read by its other end.
fn has_sent(subject: &Subject) -> bool {
    let Subject::Descriptor { pid, fd, .. } = subject else { return false };
    let taken = ProcDir::open(*pid).and_then(|proc| proc.take_fd(*fd));
    taken.is_ok_and(|socket| unix_socket::has_unread_output(socket.as_fd()))
}

/// Whether pages of the task are placed by a policy (set_mempolicy(2), mbind(2)), see numa(7).
fn has_memory_policy(proc: &ProcDir) -> bool {
    let text = proc.read("numa_maps").unwrap_or_default();
    let policies = text.split(|byte| *byte == b'\n').filter_map(|line| {
        let policy = line.split(|byte| *byte == b' ').nth(1)?;
        Some(policy != b"default")
    });
    policies.into_iter().any(|differs| differs)
}
