//! Restoring: births, memory, files, threads, and then all are let go together.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::OFlags;
use stasis_files::Reader;
use stasis_model::{Backing, FdNumber, NsPid, Process, State, TableId, Tree};
use stasis_objects::{
    Thawing, descriptor, file_lock, link, process, segment, signal, terminal, unix_socket,
};
use stasis_plan::{Job, Step};
use stasis_tracee::{Batch, Birth, Blank, Channel, FootholdPlan, Seed};

use crate::{
    abandoned::Abandoned,
    connections::{self, Thawed},
    contents::Directory,
    facade::{Error, Pages, Report, RestoreOptions, RestoreRoot, Restored, Stats},
    host, ipc, morph, namespaces, own_limit,
    phases::Phases,
    pids,
    processor::OneProcessor,
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
    let (mut tree, facts) = reader.tree_and_facts()?;
    match options.pages {
        Pages::Own => {}
        Pages::Mergeable => let_merge(&mut tree),
    }
    let patches = vdso::adapt(&mut tree, &reader)?;
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
    if is_new {
        pids::wait_until_free(&tree, &steps)?;
    }
    phases.end("read");
    let processor = OneProcessor::hold();
    let (root, channel, inherited) =
        make_root(&tree, &options.inherited, options.root, processor.as_ref())?;
    let host_root = root.pid();
    let (abandoned, unread) = Abandoned::read(options.abandoned.as_deref());
    let wanted = (options.connections, abandoned);
    let connections = Thawed::prepare(&tree, &facts, wanted, host_root)?;
    let mut family = Family { blanks: BTreeMap::from([(root.own_pid(), root)]) };
    let namespace_root = open_root(host_root)?;
    let shell = if options.shell_job { terminal::own_terminal() } else { None };
    let mut terminals = terminal::Opened::open(&tree, namespace_root.as_fd(), &inherited, shell)?;
    family.play(&steps, (&tree, &terminals, &channel))?;
    phases.end("births");
    let contents = Directory(&reader);
    let mut thawing = Thawing::new(&tree, &contents, namespace_root, inherited);
    thawing.losses.extend(unread);
    family.give_terminals(&tree, &channel, &mut thawing, &mut terminals)?;
    if let Some(connections) = &connections {
        let namespace = connections.namespace.try_clone().map_err(failed)?;
        thawing.keep_connections(connections.keeping, namespace);
    }
    // They may be on their way through unix sockets.
    descriptor::thaw_internet_sockets(&mut thawing, family.blank(tree.root().pid)?)?;
    // While the root blank's directories are those of the namespace, where names are looked up.
    unix_socket::thaw_all(&mut thawing, family.blank(tree.root().pid)?)?;
    let lost = ipc::thaw(host_root, &tree, &contents)?;
    thawing.losses.extend(lost);
    let nr_pages = family.fill(&tree, &reader, (&channel, processor.as_ref()), &mut thawing)?;
    for (pid, patches) in &patches {
        vdso::patch(family.blank(*pid)?, patches)?;
    }
    ipc::settle(host_root, &tree, facts.ipc.as_ref())?;
    phases.end("memory");
    family.give_files(&tree, &channel, &mut thawing)?;
    phases.end("files");
    family.end_zombies(&tree)?;
    let bounding = own_bounding_set();
    for process in live_processes(&tree) {
        let live = process.live().expect("live processes only");
        let blank = family.blank(process.pid)?;
        process::thaw_from_outside(blank, live, &mut thawing)?;
        morph::threads(blank, &tree, live, bounding, &channel)?;
        for (thread, frozen) in blank.threads().iter().zip(&live.threads) {
            stasis_objects::scheduling::thaw(thread.tid(), &frozen.scheduling, &mut thawing)?;
        }
    }
    phases.end("threads");
    let by_own = family.host_ids();
    descriptor::thaw_owners(&thawing, &|own: NsPid| by_own.get(&own.0).copied())?;
    drop(terminals);
    for process in live_processes(&tree) {
        let blank = family.blank(process.pid)?;
        morph::leave(blank, process.live().expect("live processes only"))?;
    }
    for process in live_processes(&tree) {
        let blank = family.blank(process.pid)?;
        morph::stop(blank, process)?;
    }
    link::remove(&thawing)?;
    if let Some(connections) = connections {
        connections.settle(&mut thawing)?;
    }
    let losses = std::mem::take(&mut thawing.losses);
    drop(thawing);
    phases.end("leave");
    family.let_go(&tree, processor.as_ref())?;
    phases.end("go");
    let stats = Stats {
        phases: phases.into_vec(),
        nr_tasks: tree.processes.len(),
        nr_threads: tree.nr_threads(),
        nr_pages,
        ..Stats::default()
    };
    Ok(Restored { root: host_root, report: Report { stats, losses } })
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

fn live_processes(tree: &Tree) -> impl Iterator<Item = &Process> {
    tree.processes.iter().filter(|process| process.live().is_some())
}

/// Makes the first blank with the root's pid, and the channel that all will inherit.
fn make_root(
    tree: &Tree,
    inherited: &BTreeMap<String, i32>,
    how: RestoreRoot<'_>,
    processor: Option<&OneProcessor>,
) -> Result<(Blank, Channel, HashMap<String, OwnedFd>), Error> {
    let root_pid = tree.root().pid.0;
    let (seed, is_new) = match how {
        RestoreRoot::New => (Seed::spawn()?, true),
        RestoreRoot::Waiting { pid, release } => {
            let seed = Seed::catch(pid, release)?;
            processor.inspect(|processor| processor.take_in(pid));
            (seed, false)
        }
    };
    let plan = plan_foothold(tree, &seed)?;
    let mut first = seed.settle(plan)?;
    let mut given = HashMap::new();
    for (key, fd) in inherited {
        given.insert(key.clone(), first.take_fd(*fd)?);
    }
    raise_descriptor_limit(&first);
    let number = free_number(tree, &first)?;
    let channel = first.open_channel(number)?;
    let mut batch = Batch::new();
    morph::close_all_but(number, &mut batch);
    first.run(&batch)?;
    if !is_new {
        if first.own_pid() != root_pid {
            return Err(Error::Failed(format!(
                "the container's init has pid {} and the checkpoint's root {root_pid}",
                first.own_pid()
            )));
        }
        return Ok((first, channel, given));
    }
    let birth = Birth { own_pid: root_pid, shares_descriptors: false, as_sibling: true };
    let born = first.bear(&[birth]).map_err(|error| taken(error, root_pid))?.pop();
    Seed::kill_after(first)?;
    let mut root = born.ok_or_else(|| Error::Failed("the root was not born".into()))?;
    namespaces::thaw(tree, &mut root)?;
    Ok((root, channel, given))
}

fn taken(error: stasis_tracee::Error, pid: i32) -> Error {
    let is_taken =
        matches!(&error, stasis_tracee::Error::Kernel { errno: stasis_sys::Errno::EXIST, .. });
    if !is_taken {
        return error.into();
    }
    // It was free a moment ago.
    Error::Failed(format!("pid {pid} was taken meanwhile; try again, or restore in a container"))
}

const RLIMIT_NOFILE: u32 = 7;

/// Blanks need numbers for descriptors that may be higher than our own limit.
fn raise_descriptor_limit(blank: &Blank) {
    let Ok(limits) = blank.proc().parse("limits", stasis_proctext::limits::parse) else { return };
    let hard = limits[RLIMIT_NOFILE as usize].1;
    // Without success a high number is refused where it is used.
    let _ = stasis_sys::process::set_limit(blank.pid(), RLIMIT_NOFILE, hard, hard);
}

fn plan_foothold(tree: &Tree, seed: &Seed) -> Result<FootholdPlan, Error> {
    let vmas = live_processes(tree).filter_map(Process::live).flat_map(|live| &live.memory.vmas);
    let taken: Vec<_> = vmas.map(|vma| vma.range.clone()).chain(seed.memory()?).collect();
    let most = live_processes(tree).filter_map(Process::live).map(|live| live.threads.len()).max();
    let largest = live_processes(tree)
        .filter_map(Process::live)
        .flat_map(|live| {
            live.threads.iter().map(|thread| stasis_objects::thread::len_bytes(tree, live, thread))
        })
        .max();
    FootholdPlan::find(taken, most.unwrap_or(1), largest.unwrap_or(0))
        .ok_or_else(|| Error::Failed("no room for the foothold in the processes' memory".into()))
}

/// A number that no process of the tree uses for a descriptor, below the blank's own limit.
fn free_number(tree: &Tree, blank: &Blank) -> Result<i32, Error> {
    /// Above what is usually handed over for mappings, and below the usual limits.
    const WISHED: i32 = 1000;
    let limits = blank.proc().parse("limits", stasis_proctext::limits::parse)?;
    let limit = i32::try_from(limits[RLIMIT_NOFILE as usize].0).unwrap_or(i32::MAX);
    let is_free = |number: &i32| {
        let fd = FdNumber(*number);
        *number < limit && tree.tables.values().all(|table| !table.descriptors.contains_key(&fd))
    };
    let tried = (WISHED..limit).chain((0..WISHED).rev());
    tried.into_iter().find(is_free).ok_or_else(|| {
        Error::Failed(format!("no descriptor number below the limit of {limit} is free"))
    })
}

fn open_root(pid: i32) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(Path::new(&path), flags, rustix::fs::Mode::empty())
        .map_err(|errno| Error::Failed(format!("cannot open {path}: {errno}")))
}

fn own_bounding_set() -> u64 {
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    stasis_proctext::status::parse(&status).map_or(0, |status| status.bounding)
}

/// All blanks by their own pids.
struct Family {
    blanks: BTreeMap<i32, Blank>,
}

impl Family {
    fn blank(&mut self, pid: NsPid) -> Result<&mut Blank, Error> {
        self.blanks
            .get_mut(&pid.0)
            .ok_or_else(|| Error::Failed(format!("process {pid} was not born")))
    }

    fn host_ids(&self) -> HashMap<i32, i32> {
        let threads = self.blanks.values().flat_map(Blank::threads);
        threads.map(|thread| (thread.own_tid(), thread.tid())).collect()
    }

    fn play(
        &mut self,
        steps: &[Step],
        (tree, terminals, channel): (&Tree, &terminal::Opened, &Channel),
    ) -> Result<(), Error> {
        const PRCTL: i64 = 157;
        const PR_SET_CHILD_SUBREAPER: i32 = 36;
        let mut rest = steps;
        while let Some(step) = rest.first() {
            let count = match *step {
                Step::Bear { parent, .. } => self.bear_many(parent, rest)?,
                Step::BearSibling { elder, child } => {
                    let birth =
                        Birth { own_pid: child.0, shares_descriptors: false, as_sibling: true };
                    self.bear(elder, &[birth])?;
                    1
                }
                Step::LeadSession { pid } => {
                    const SETSID: i64 = 112;
                    // The init of a container leads a session already.
                    if self.blank(pid)?.proc().stat()?.session != self.blank(pid)?.pid() {
                        self.call(pid, "setsid", SETSID, [0, 0])?;
                    }
                    // Whoever it bears from now on inherits its terminal.
                    terminals.control(tree, pid, self.blank(pid)?, channel)?;
                    1
                }
                Step::JoinGroup { pid, group } => {
                    const SETPGID: i64 = 109;
                    self.call(pid, "setpgid", SETPGID, [0, group.0])?;
                    1
                }
                Step::EndHelper { pid, parent } => {
                    self.end_helper(pid, parent)?;
                    1
                }
                Step::Adopt { pid } => {
                    self.call(pid, "prctl", PRCTL, [PR_SET_CHILD_SUBREAPER, 1])?;
                    1
                }
                Step::StopAdopting { pid } => {
                    self.call(pid, "prctl", PRCTL, [PR_SET_CHILD_SUBREAPER, 0])?;
                    1
                }
            };
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Births of one parent that follow each other are one batch.
    fn bear_many(&mut self, parent: NsPid, steps: &[Step]) -> Result<usize, Error> {
        const MOST: usize = 1000;
        let births: Vec<Birth> = steps
            .iter()
            .take(MOST)
            .map_while(|step| match *step {
                Step::Bear { parent: other, child, shares_descriptors } if other == parent => {
                    Some(Birth { own_pid: child.0, shares_descriptors, as_sibling: false })
                }
                _ => None,
            })
            .collect();
        self.bear(parent, &births)?;
        Ok(births.len())
    }

    fn bear(&mut self, parent: NsPid, births: &[Birth]) -> Result<(), Error> {
        let first = births.first().map_or(0, |birth| birth.own_pid);
        let born = self.blank(parent)?.bear(births).map_err(|error| taken(error, first))?;
        self.blanks.extend(born.into_iter().map(|blank| (blank.own_pid(), blank)));
        Ok(())
    }

    fn call(
        &mut self,
        pid: NsPid,
        name: &'static str,
        number: i64,
        arguments: [i32; 2],
    ) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.call(name, number, arguments.map(Into::into));
        self.blank(pid)?.run(&batch)?;
        Ok(())
    }

    fn end_helper(&mut self, pid: NsPid, parent: NsPid) -> Result<(), Error> {
        const WAIT4: i64 = 61;
        const WALL: u32 = 0x4000_0000;
        if let Some(helper) = self.blanks.remove(&pid.0) {
            helper.kill()?;
        }
        let mut batch = Batch::new();
        batch.call("wait4", WAIT4, [pid.0.into(), 0.into(), WALL.into(), 0.into()]);
        signal::flush_child_signals(&mut batch);
        self.blank(parent)?.run(&batch)?;
        Ok(())
    }

    fn fill(
        &mut self,
        tree: &Tree,
        reader: &Reader,
        (channel, processor): (&Channel, Option<&OneProcessor>),
        thawing: &mut Thawing,
    ) -> Result<u64, Error> {
        let mut mapped = morph::MappedFiles::default();
        let mut nr_pages = 0;
        let present = self.blank(tree.root().pid)?.proc().maps()?;
        // While one is filled the next is prepared, and if it has much to read begun as well.
        let mut begun: Option<(NsPid, TableId, morph::Filling)> = None;
        for process in live_processes(tree) {
            let live = process.live().expect("live processes only");
            let wanted = morph::open_memory(process.pid, live, reader, (thawing, &mut mapped))?;
            // Received descriptors get the lowest free numbers, which a shared table must not confuse.
            let is_first = |(_, table, filling): &mut (_, TableId, morph::Filling)| {
                *table == live.descriptors || !filling.is_large()
            };
            if let Some((pid, _, filling)) = begun.take_if(is_first) {
                nr_pages += filling.finish(self.blank(pid)?)?;
            }
            let blank = self.blank(process.pid)?;
            if wanted.is_large() {
                processor.inspect(|processor| processor.let_out(blank.pid()));
            }
            let objects = &thawing.tree().namespaces.system_v;
            let filling = morph::begin_memory(blank, live, wanted, channel, (&present, objects))?;
            let before = begun.replace((process.pid, live.descriptors, filling));
            if let Some((pid, _, filling)) = before {
                nr_pages += filling.finish(self.blank(pid)?)?;
            }
        }
        if let Some((pid, _, filling)) = begun {
            nr_pages += filling.finish(self.blank(pid)?)?;
        }
        Ok(nr_pages)
    }

    /// Opens what only a process of a session can, and puts groups in the foreground.
    fn give_terminals(
        &mut self,
        tree: &Tree,
        channel: &Channel,
        thawing: &mut Thawing,
        terminals: &mut terminal::Opened,
    ) -> Result<(), Error> {
        let root = tree.root().pid;
        let leader = |session: NsPid| {
            tree.process(session).filter(|process| process.live().is_some()).map_or(root, |p| p.pid)
        };
        for foreground in terminals.foregrounds(tree) {
            let blank = self.blank(leader(foreground.session))?;
            terminals.set_foreground(foreground, blank, channel)?;
        }
        for (file, session) in terminal::controlling_files(tree) {
            let blank = self.blank(session.map_or(root, leader))?;
            terminal::thaw_controlling(file, blank, channel, thawing)?;
        }
        terminals.hand_over(thawing);
        Ok(())
    }

    fn give_files(
        &mut self,
        tree: &Tree,
        channel: &Channel,
        thawing: &mut Thawing,
    ) -> Result<(), Error> {
        let used = tree.tables.values().flat_map(|table| table.descriptors.values());
        let root = tree.root().pid;
        for descriptor in used {
            descriptor::thaw_file(descriptor.file, thawing, self.blank(root)?)?;
        }
        let mut filled = Vec::new();
        let mut watched = Vec::new();
        for process in live_processes(tree) {
            let live = process.live().expect("live processes only");
            if filled.contains(&live.descriptors) {
                continue;
            }
            filled.push(live.descriptors);
            let table = &tree.tables[&live.descriptors];
            let blank = self.blank(process.pid)?;
            descriptor::thaw_table(table, blank, channel, thawing)?;
            let mut batch = Batch::new();
            descriptor::thaw_watches(table, (thawing, channel), &mut watched, &mut batch);
            if !batch.is_empty() {
                blank.run(&batch)?;
            }
        }
        segment::seal(thawing)?;
        for lock in &tree.locks {
            file_lock::thaw(lock, thawing, self.blank(lock.owner)?)?;
        }
        Ok(())
    }

    fn end_zombies(&mut self, tree: &Tree) -> Result<(), Error> {
        for process in &tree.processes {
            if let State::Zombie { wait_status } = process.state {
                let mut batch = Batch::new();
                name(&process.name, &mut batch);
                self.blank(process.pid)?.run(&batch)?;
                if let Some(blank) = self.blanks.remove(&process.pid.0) {
                    blank.end_as_zombie(wait_status)?;
                }
            }
        }
        Ok(())
    }

    fn let_go(mut self, tree: &Tree, processor: Option<&OneProcessor>) -> Result<(), Error> {
        // Children before their parents, who may wait for them.
        for process in tree.processes.iter().rev() {
            let Some(blank) = self.blanks.remove(&process.pid.0) else { continue };
            let frozen = process.live().into_iter().flat_map(|live| &live.threads);
            for (thread, frozen) in blank.threads().iter().zip(frozen) {
                if frozen.scheduling.processors.is_none() {
                    processor.inspect(|processor| processor.let_out(thread.tid()));
                }
            }
            blank.let_go()?;
        }
        Ok(())
    }
}

fn name(name: &[u8], batch: &mut Batch) {
    const PRCTL: i64 = 157;
    const PR_SET_NAME: i32 = 15;
    let text = batch.text(&name[..name.len().min(15)]);
    batch.call("prctl(PR_SET_NAME)", PRCTL, [PR_SET_NAME.into(), text.into()]);
}
