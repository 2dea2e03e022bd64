//! A stopped tree into the model.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{Arc, OnceLock},
    thread::{self, Scope, ScopedJoinHandle},
};

use rustix::process::Pid;
use stasis_model::{NamespaceKind, NsPid, Obstacle, Process, State, Subject, TableId};
use stasis_objects::{
    Gathering, epoll, process,
    sharing::{self, Between},
    terminal::{self, Outside},
    unix_socket,
};
use stasis_plan::Job;
use stasis_tracee::{FEW, Patient, ProcDir, Sleepers, StopKind, StoppedTree};

use crate::{
    clocks::read_clocks,
    connections::Frozen,
    deadline::Deadline,
    facade::{CheckpointOptions, Error},
    ipc, namespaces,
    processor::OneProcessor,
    read_ahead,
    restore::job_of,
};

/// Freezes all processes into the model, from one processor if others were idle.
pub fn freeze<'a>(
    tree: &mut StoppedTree,
    (sleepers, idle): (&Sleepers, bool),
    options: &CheckpointOptions<'a>,
    outside: Outside,
) -> Result<(Gathering, Frozen<'a>), Error> {
    let mut gathering = Gathering::new(options.externals.files.clone());
    let clocks = read_clocks();
    gathering.tree.clocks = Some(clocks);
    gathering.terminals.outside = outside;
    note_ids(tree, &mut gathering);
    freeze_surroundings(tree, options, &mut gathering)?;
    let moment = (sleepers, clocks.monotonic.as_nanoseconds());
    let processor = idle.then(OneProcessor::hold).flatten();
    let tables = freeze_processes(tree, moment, (options, processor.as_ref()), &mut gathering)?;
    drop(processor);
    let connections = Frozen::freeze(&mut gathering, options.connections, options.root)?;
    unix_socket::check_peers(&mut gathering);
    epoll::resolve(&mut gathering, &|table| tables.get(&table).copied())?;
    add_zombies(tree, &mut gathering);
    check_plan(&mut gathering, options);
    terminal::resolve(&mut gathering)?;
    if !gathering.obstacles.is_empty() {
        return Err(Error::Obstacles(gathering.obstacles));
    }
    gathering.tree.validate().map_err(|invalid| {
        Error::Failed(format!("internal error: the frozen tree contradicts itself: {invalid}"))
    })?;
    Ok((gathering, connections))
}

/// Freezes the namespaces that the tree has for itself.
fn freeze_surroundings(
    tree: &StoppedTree,
    options: &CheckpointOptions<'_>,
    gathering: &mut Gathering,
) -> Result<(), Error> {
    let root = tree.patients()[0].proc();
    let own = namespaces::own(root);
    gathering.obstacles.extend(namespaces::obstacles(root, &own, &options.externals));
    gathering.tree.namespaces = namespaces::freeze(root, own, &options.externals.mounts)?;
    if gathering.tree.namespaces.owns(NamespaceKind::Ipc) {
        gathering.add_system_v(ipc::freeze(options.root)?)?;
    }
    if gathering.tree.namespaces.owns(NamespaceKind::Mount) {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        gathering.root = Some(root.open_file("root", flags)?);
    }
    Ok(())
}

/// Freezes each process, and tells a process that has each table of descriptors. What they share is looked at
/// meanwhile, which needs none of their remote calls.
fn freeze_processes(
    tree: &mut StoppedTree,
    moment: (&Sleepers, u64),
    (options, processor): (&CheckpointOptions<'_>, Option<&OneProcessor>),
    gathering: &mut Gathering,
) -> Result<HashMap<TableId, i32>, Error> {
    let procs: Vec<Arc<ProcDir>> = tree.patients().iter().map(Patient::shared_proc).collect();
    let nr_threads = tree.nr_threads();
    let mut tables: HashMap<TableId, i32> = HashMap::new();
    let shared = thread::scope(|scope| {
        let mut looking: Option<Looking<'_>> = None;
        read_ahead::freeze_each(tree.patients_mut(), processor, |patient, texts| {
            Deadline::of(options).check_phase()?;
            let seen = process::look(patient, moment, gathering)?;
            if nr_threads >= FEW && looking.is_none() {
                looking = Some(Looking::start(scope, &procs));
            }
            let texts = texts()?;
            // While we waited for them there was room on our processor.
            if let (Some(processor), Some(looking)) = (processor, &looking) {
                looking.go_out(processor);
            }
            let live = process::freeze(patient, (seen, texts), gathering)?;
            tables.entry(live.descriptors).or_insert(patient.pid());
            let process = describe(patient, live, (options, gathering))?;
            gathering.tree.processes.push(process);
            Ok(())
        })?;
        match looking {
            Some(looking) => looking.end(),
            None => shared_or_not(&procs),
        }
    })?;
    gathering.obstacles.extend(shared);
    Ok(tables)
}

/// A thread of ours that looks at what is shared.
struct Looking<'scope> {
    tid: Arc<OnceLock<Pid>>,
    thread: ScopedJoinHandle<'scope, Result<Vec<Obstacle>, Error>>,
}

impl<'scope> Looking<'scope> {
    fn start(scope: &'scope Scope<'scope, '_>, procs: &'scope [Arc<ProcDir>]) -> Self {
        let tid = Arc::new(OnceLock::new());
        let own_tid = Arc::clone(&tid);
        let thread = scope.spawn(move || {
            own_tid.get_or_init(rustix::thread::gettid);
            shared_or_not(procs)
        });
        Looking { tid, thread }
    }

    /// Leaves our processor.
    fn go_out(&self, processor: &OneProcessor) {
        self.tid.get().inspect(|tid| processor.push_out(tid.as_raw_nonzero().get()));
    }

    fn end(self) -> Result<Vec<Obstacle>, Error> {
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// What processes or threads share that they must not, or do not share as they must.
fn shared_or_not(procs: &[Arc<ProcDir>]) -> Result<Vec<Obstacle>, Error> {
    let procs: Vec<&ProcDir> = procs.iter().map(AsRef::as_ref).collect();
    let mut obstacles = namespaces::apart(procs[0], &procs[1..]);
    obstacles.extend(sharing::obstacles(procs, Between::ProcessesAndThreads)?);
    Ok(obstacles)
}

/// What could never be made again is not frozen.
fn check_plan(gathering: &mut Gathering, options: &CheckpointOptions<'_>) {
    let wanted = if options.shell_job { Job::Shell } else { Job::Own };
    let job = job_of(&gathering.tree, wanted);
    if let Err(impossible) = stasis_plan::steps(&gathering.tree, job, &|_| false) {
        gathering.obstacle(Subject::Tree, impossible.to_string(), None);
    }
}

fn note_ids(tree: &StoppedTree, gathering: &mut Gathering) {
    for patient in tree.patients() {
        gathering.own_ids.insert(patient.pid(), NsPid(patient.own_pid()));
        for thread in patient.threads() {
            gathering.own_ids.insert(thread.tid(), NsPid(thread.own_tid()));
        }
    }
    for zombie in tree.zombies() {
        gathering.own_ids.insert(zombie.pid, NsPid(zombie.own_pid));
    }
}

fn describe(
    patient: &Patient,
    live: stasis_model::Live,
    (options, gathering): (&CheckpointOptions<'_>, &Gathering),
) -> Result<Process, Error> {
    let status = patient.status();
    let own = |ids: &[i32]| NsPid(ids.last().copied().unwrap_or(0));
    let (group, session) = (own(&status.namespace_groups), own(&status.namespace_sessions));
    let is_root = patient.pid() == options.root;
    if is_root && session.0 != patient.own_pid() && !options.shell_job {
        return Err(Error::Failed(format!(
            "process {} is in session {session} of another process; \
             start it with setsid(1), or use --shell-job",
            patient.pid()
        )));
    }
    let stopped_by = match patient.leader().stop_kind() {
        StopKind::Running => None,
        StopKind::JobControl(signal) => Some(signal),
    };
    Ok(Process {
        pid: NsPid(patient.own_pid()),
        // The root's own parent is not of the tree.
        parent: gathering.own_id(patient.parent()),
        group,
        session,
        name: live.leader().name.clone(),
        state: State::Live { live: Box::new(live), stopped_by },
    })
}

fn add_zombies(tree: &StoppedTree, gathering: &mut Gathering) {
    for zombie in tree.zombies() {
        let own = |host: i32| gathering.own_id(host).unwrap_or(NsPid(host));
        gathering.tree.processes.push(Process {
            pid: NsPid(zombie.own_pid),
            parent: Some(own(zombie.parent)),
            group: own(zombie.group),
            session: own(zombie.session),
            name: zombie.name.clone(),
            state: State::Zombie { wait_status: zombie.wait_status.cast_unsigned() },
        });
    }
}
