//! Restoring: births, memory, files, threads, and then all are let go together.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::{AsFd, OwnedFd},
    panic::resume_unwind,
    path::Path,
    thread,
};

use rustix::fs::OFlags;
use stasis_files::{Facts, Reader};
use stasis_model::{Backing, NsPid, State, Tree};
use stasis_objects::{
    Thawing, descriptor, link,
    process::{self, BornWith},
    terminal, unix_socket,
};
use stasis_plan::{Job, Step};
use stasis_tracee::{Channel, Newborn};

use crate::{
    abandoned::Abandoned,
    ahead,
    awake::Awake,
    births::Births,
    connections::{self, Thawed},
    contents::Directory,
    facade::{Error, Pages, Report, RestoreOptions, RestoreRoot, Restored, Stats},
    family::{Family, live_processes},
    host, ipc,
    memory::{Comparer, Lending, Memories},
    morph::{self, Threads},
    namespaces, own_limit,
    phases::Phases,
    pids,
    processor::{self, OneProcessor},
    remains::Remains,
    root::make_root,
    vdso,
};

/// Brings a tree back; all tasks are let go together.
///
/// # Errors
/// [`Error::NotHere`] before anything is made, [`Error::Failed`] with no process left.
pub fn restore(options: RestoreOptions<'_>) -> Result<Restored, Error> {
    let _limit = own_limit::raise();
    let mut phases = Phases::start();
    let reader = Reader::open(&options.images_dir)?.with_parents(options.parents.clone());
    let mut frozen = read(&options, &reader)?;
    phases.end("read");
    let remains = frozen.ids.take().map(Remains::expect);
    let restored = bring_back(options, &reader, frozen, phases);
    if let (Err(_), Some(remains)) = (&restored, remains) {
        remains.collect();
    }
    restored
}

/// Makes the processes; if that fails, those that there are have been killed.
fn bring_back(
    options: RestoreOptions<'_>,
    reader: &Reader,
    Frozen { tree, facts, patches, steps, .. }: Frozen,
    mut phases: Phases,
) -> Result<Restored, Error> {
    let processor = OneProcessor::hold();
    let processor = processor.as_ref();
    let (mut root, channel, inherited) =
        make_root(&tree, &options.inherited, options.root, processor)?;
    let born_with = BornWith::of(&mut root)?;
    let host_root = root.pid();
    let (abandoned, unread) = Abandoned::read(options.abandoned.as_deref());
    let wanted = (options.connections, abandoned);
    let connections = Thawed::prepare(&tree, &facts, wanted, host_root)?;
    let namespace_root = open_root(host_root)?;
    let shell = if options.shell_job { terminal::own_terminal() } else { None };
    let mut terminals = terminal::Opened::open(&tree, namespace_root.as_fd(), &inherited, shell)?;
    let contents = Directory(reader);
    let mut thawing = Thawing::new(&tree, &contents, namespace_root, inherited);
    thawing.losses.extend(unread);
    thawing.losses.extend(ipc::thaw(host_root, &tree, &contents)?);
    let lending = Lending::of(&tree, &steps);
    let mut memories = Memories::new((&tree, reader), &lending, (&root, &channel), processor)?;
    let mut family = Family::of(root);
    let has_spread = processor::has_spread(&tree);
    let awake = has_spread.then(|| Awake::for_threads(tree.nr_threads())).flatten();
    let newborns = thread::scope(|scope| {
        let preparing = has_spread.then(|| {
            scope.spawn(|| {
                processor.inspect(|processor| processor.let_me_out());
                newborns_of(&tree, &born_with)
            })
        });
        let mut comparer = Comparer::new(&tree, reader);
        let heirs = lending.heirs(&tree).into_iter();
        let compared = heirs.map(move |pair| comparer.compare(pair));
        let compared = ahead::of(scope, compared, |_| 0, processor);
        let births = Births {
            tree: &tree,
            terminals: &terminals,
            channel: &channel,
            family: &mut family,
            memories: &mut memories,
            thawing: &mut thawing,
        };
        births.play(&steps)?;
        phases.end("births");
        family.give_terminals(&tree, &channel, &mut thawing, &mut terminals)?;
        make_sockets(&mut family, &tree, connections.as_ref(), &mut thawing)?;
        memories.fill(compared, &mut family, &mut thawing)?;
        let prepared = preparing
            .map(|preparing| preparing.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok::<_, Error>(prepared.unwrap_or_default())
    })?;
    for (pid, patches) in &patches {
        vdso::patch(family.blank(*pid)?, patches)?;
    }
    ipc::settle(host_root, &tree, facts.ipc.as_ref())?;
    phases.end("memory");
    family.give_files(&tree, &channel, &mut thawing)?;
    phases.end("files");
    family.end_zombies(&tree)?;
    let shared = (&channel, processor);
    give_threads(&mut family, &tree, (newborns, &born_with), shared, &mut thawing)?;
    phases.end("threads");
    let by_own = family.host_ids();
    descriptor::thaw_owners(&thawing, &|own: NsPid| by_own.get(&own.0).copied())?;
    drop(terminals);
    leave(&mut family, &tree, &born_with)?;
    link::remove(&thawing)?;
    if let Some(connections) = connections {
        connections.settle(&mut thawing)?;
    }
    let losses = std::mem::take(&mut thawing.losses);
    drop(thawing);
    phases.end("leave");
    family.let_go(&tree, processor)?;
    drop(awake);
    phases.end("go");
    let stats = Stats {
        phases: phases.into_vec(),
        nr_tasks: tree.processes.len(),
        nr_threads: tree.nr_threads(),
        nr_pages: memories.nr_pages(),
        ..Stats::default()
    };
    Ok(Restored { root: host_root, report: Report { stats, losses } })
}

/// A checkpoint that can be restored here, and how its processes are made.
struct Frozen {
    tree: Tree,
    facts: Facts,
    patches: vdso::Patches,
    steps: Vec<Step>,
    /// Of processes and threads, which must be free here. In a container nobody else has them, and what is killed there
    /// goes with its init.
    ids: Option<BTreeSet<i32>>,
}

fn read(options: &RestoreOptions<'_>, reader: &Reader) -> Result<Frozen, Error> {
    let (mut tree, facts) = reader.tree_and_facts()?;
    match options.pages {
        Pages::Own => {}
        Pages::Mergeable => let_merge(&mut tree),
    }
    let patches = vdso::adapt(&mut tree, reader)?;
    let is_new = matches!(options.root, RestoreRoot::New);
    let mut obstacles = host::obstacles(&tree, &facts, options.cpu);
    obstacles.extend(connections::obstacles(&tree, options.connections));
    if is_new {
        obstacles.extend(namespaces::obstacles_to_restore(&tree));
    }
    if !obstacles.is_empty() {
        return Err(Error::NotHere(obstacles));
    }
    let wanted = if options.shell_job { Job::Shell } else { Job::Own };
    let job = job_of(&tree, wanted);
    // In a container nobody else has pids.
    let is_taken = |pid: NsPid| is_new && pids::is_taken(pid.0);
    let steps = stasis_plan::steps(&tree, job, &is_taken)
        .map_err(|error| Error::Failed(error.to_string()))?;
    let ids = is_new.then(|| pids::needed(&tree, &steps));
    ids.as_ref().map_or(Ok(()), pids::wait_until_free)?;
    Ok(Frozen { tree, facts, patches, steps, ids })
}

/// Makes what may be on its way through unix sockets, and these.
fn make_sockets(
    family: &mut Family,
    tree: &Tree,
    connections: Option<&Thawed>,
    thawing: &mut Thawing,
) -> Result<(), Error> {
    if let Some(connections) = connections {
        let namespace = connections.namespace.try_clone().map_err(failed)?;
        thawing.keep_connections(connections.keeping, namespace);
    }
    let root = family.blank(tree.root().pid)?;
    descriptor::thaw_internet_sockets(thawing, root)?;
    // While the root blank's directories are those of the namespace, where names are looked up.
    Ok(unix_socket::thaw_all(thawing, root)?)
}

/// The further threads of processes.
type Newborns = HashMap<NsPid, Vec<Newborn>>;

/// Those of processes that have many, which can be prepared while the processes get their memory.
fn newborns_of(tree: &Tree, born_with: &BornWith) -> Newborns {
    let live = live_processes(tree).filter_map(|process| Some((process.pid, process.live()?)));
    live.filter(|(_, live)| processor::is_spread(live))
        .map(|(pid, live)| (pid, Threads::of(tree, live, born_with).newborns()))
        .collect()
}

fn give_threads(
    family: &mut Family,
    tree: &Tree,
    (mut newborns, born_with): (Newborns, &BornWith),
    (channel, processor): (&Channel, Option<&OneProcessor>),
    thawing: &mut Thawing,
) -> Result<(), Error> {
    for process in live_processes(tree) {
        let live = process.live().expect("live processes only");
        let blank = family.blank(process.pid)?;
        process::thaw_from_outside(blank, live, born_with, thawing)?;
        let processor = processor.filter(|_| processor::is_spread(live));
        processor.inspect(|processor| processor.let_out(blank.pid()));
        let threads = Threads::of(tree, live, born_with);
        let newborns = newborns.remove(&process.pid).unwrap_or_else(|| threads.newborns());
        threads.thaw(&newborns, blank, channel)?;
        processor.inspect(|processor| processor.take_in(blank.pid()));
        for (thread, frozen) in blank.threads().iter().zip(&live.threads) {
            stasis_objects::scheduling::thaw(thread.tid(), &frozen.scheduling, thawing)?;
        }
    }
    Ok(())
}

fn leave(family: &mut Family, tree: &Tree, born_with: &BornWith) -> Result<(), Error> {
    for process in live_processes(tree) {
        let blank = family.blank(process.pid)?;
        morph::leave(blank, process.live().expect("live processes only"), born_with)?;
    }
    for process in live_processes(tree) {
        morph::stop(family.blank(process.pid)?, process)?;
    }
    Ok(())
}

/// Lets the kernel merge what pages of private memory are equal to others'.
fn let_merge(tree: &mut Tree) {
    const MADV_MERGEABLE: u32 = 12;
    let live = tree.processes.iter_mut().filter_map(|process| match &mut process.state {
        State::Live { live, .. } => Some(live),
        State::Zombie { .. } => None,
    });
    for vma in live.flat_map(|live| &mut live.memory.vmas) {
        let is_special = matches!(vma.backing, Backing::Vdso | Backing::AioRing);
        if vma.has_private_pages() && !is_special && vma.flags.huge_page_shift.is_none() {
            vma.advice |= 1 << MADV_MERGEABLE;
        }
    }
}

/// A root that leads its session does so again, whoever restores it.
pub fn job_of(tree: &Tree, wanted: Job) -> Job {
    let root = tree.root();
    if root.session == root.pid { Job::Own } else { wanted }
}

fn failed(error: std::io::Error) -> Error {
    Error::Failed(error.to_string())
}

fn open_root(pid: i32) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(Path::new(&path), flags, rustix::fs::Mode::empty())
        .map_err(|errno| Error::Failed(format!("cannot open {path}: {errno}")))
}
