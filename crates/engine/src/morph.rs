//! Morphing one blank into the process that was frozen.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use stasis_files::{PageOwner, Reader};
use stasis_model::{Live, NsPid, Process, SignalMask, SystemV, Tree};
use stasis_objects::{
    Thawing,
    address_space::{self, MappedFile},
    content::PageSource,
    descriptor, pages, process, signal,
    system_v::attachment,
    thread,
};
use stasis_proctext::maps::Mapping;
use stasis_sys::ptrace::UserRegs;
use stasis_tracee::{Batch, Blank, Channel, MAX_FDS};

use crate::{contents::StoredPages, facade::Error};

/// Files mapped by several processes are opened once.
#[derive(Default)]
pub struct MappedFiles {
    open: BTreeMap<MappedFile, OwnedFd>,
}

impl MappedFiles {
    fn get(&mut self, file: MappedFile, thawing: &mut Thawing) -> Result<BorrowedFd<'_>, Error> {
        let open: &OwnedFd = match self.open.entry(file) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => place.insert(open_mapped(file, thawing)?),
        };
        Ok(open.as_fd())
    }
}

fn open_mapped(file: MappedFile, thawing: &mut Thawing) -> Result<OwnedFd, Error> {
    let duplicate = |fd: BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|errno| Error::Failed(errno.to_string()))
    };
    match file {
        MappedFile::Segment(id) => duplicate(thawing.segment(id)?),
        MappedFile::Open(id, mode) => match &thawing.model_file(id).kind {
            stasis_model::FileKind::Memfd(memfd) => duplicate(thawing.segment(memfd.segment)?),
            _ => Ok(descriptor::open_path(id, mode, thawing)?),
        },
    }
}

/// More pages than this are worth another processor.
const LARGE_PAGES: u64 = 512;

/// What a process is to be given for its memory, opened by us.
pub struct Wanted {
    source: StoredPages,
    mapped: Vec<MappedFile>,
    has_root: bool,
    /// Executable and directories, files of pages, mapped files.
    files: Vec<OwnedFd>,
}

impl Wanted {
    pub fn is_large(&self) -> bool {
        nr_pages(&self.source) > LARGE_PAGES
    }
}

fn nr_pages(source: &StoredPages) -> u64 {
    source.runs().iter().map(|stored| stored.run.nr_pages).sum()
}

/// Opens what a process needs for its memory, layout and directories.
pub fn open_memory(
    pid: NsPid,
    live: &Live,
    reader: &Reader,
    (thawing, mapped): (&mut Thawing, &mut MappedFiles),
) -> Result<Wanted, Error> {
    let stored = reader.pages(PageOwner::Process(pid))?.ok_or_else(|| {
        Error::Failed(format!("the checkpoint has no list of pages for process {pid}"))
    })?;
    let source = StoredPages::new(stored);
    let mut files = process::open_fs(live, thawing)?;
    let has_root = files.len() > 2;
    let mut wanted: Vec<MappedFile> =
        live.memory.vmas.iter().filter_map(address_space::file_of).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let duplicate = |fd: BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|errno| Error::Failed(errno.to_string()))
    };
    for fd in source.files() {
        files.push(duplicate(fd)?);
    }
    for file in &wanted {
        files.push(duplicate(mapped.get(*file, thawing)?)?);
    }
    Ok(Wanted { source, mapped: wanted, has_root, files })
}

/// A blank that is being given its memory by a batch of its own.
#[must_use = "it still runs"]
pub struct Filling {
    batch: Batch,
    reads: Vec<pages::Read>,
    what: String,
    nr_pages: u64,
}

impl Filling {
    pub fn is_large(&self) -> bool {
        self.nr_pages > LARGE_PAGES
    }

    /// Waits until the blank stands again, and gives the number of its pages.
    pub fn finish(self, blank: &mut Blank) -> Result<u64, Error> {
        let outcome = blank.finish(0, &self.batch)?;
        pages::check(&outcome, &self.reads, &self.what)?;
        Ok(self.nr_pages)
    }
}

/// Begins to give a blank the memory, layout and directories of a process. Its table of descriptors is
/// empty but for the channel, before and after.
///
/// `present`: what is mapped in every blank, since all were born of one.
pub fn begin_memory(
    blank: &mut Blank,
    live: &Live,
    wanted: Wanted,
    channel: &Channel,
    (present, objects): (&[Mapping], &SystemV),
) -> Result<Filling, Error> {
    let numbers = hand_over(blank, &wanted, channel)?;
    let source = wanted.source;
    let vmas = &live.memory.vmas;
    let with_content = pages::mappings_with_content(vmas, &source);
    let keep = blank.plan().range();
    let mut batch = Batch::new();
    for _ in 0..numbers.messages {
        channel.receive(&mut batch);
    }
    address_space::clear(&live.memory, present, &keep, &mut batch)?;
    attachment::thaw(&live.memory, objects, &keep, &mut batch)?;
    for (vma, has_content) in vmas.iter().zip(&with_content) {
        let fd = address_space::file_of(vma).map(|file| numbers.mapped[&file]);
        address_space::thaw(vma, fd, *has_content, &mut batch);
        flush_if_large(blank, &mut batch)?;
    }
    let what = format!("memory of process {}", blank.own_pid());
    let run = |blank: &mut Blank, batch: &mut Batch, reads: &mut Vec<pages::Read>| {
        let outcome = blank.run(batch)?;
        pages::check(&outcome, reads, &what)?;
        *batch = Batch::new();
        reads.clear();
        Ok::<(), Error>(())
    };
    let mut reads = pages::thaw(vmas, &source, &numbers.pages, &mut batch, |batch, reads| {
        run(blank, batch, reads)
    })?;
    for (vma, has_content) in vmas.iter().zip(&with_content) {
        address_space::finish(vma, *has_content, &mut batch);
        if batch.len_bytes() > pages::LARGE {
            run(blank, &mut batch, &mut reads)?;
        }
    }
    address_space::thaw_guards(&live.memory, &mut batch);
    process::thaw(live, &numbers.fs, &mut batch);
    close_all_but(channel.remote_fd(), &mut batch);
    // For most processes this is the one batch of all.
    blank.start(0, &batch)?;
    Ok(Filling { batch, reads, what, nr_pages: nr_pages(&source) })
}

/// Numbers under which a blank has what was handed over for its memory.
struct Numbers {
    messages: usize,
    mapped: BTreeMap<MappedFile, i32>,
    pages: Vec<i32>,
    fs: process::FsFds,
}

fn hand_over(blank: &Blank, wanted: &Wanted, channel: &Channel) -> Result<Numbers, Error> {
    let all: Vec<BorrowedFd<'_>> = wanted.files.iter().map(AsFd::as_fd).collect();
    let mut messages = 0;
    channel.wait_until_taken()?;
    for chunk in all.chunks(MAX_FDS) {
        channel.send(blank.pid(), chunk)?;
        messages += 1;
    }
    // What is received gets the lowest free numbers.
    let mut next = (0..).filter(|number| *number != channel.remote_fd());
    let mut number = || next.next().expect("an endless range");
    let fs = process::FsFds {
        executable: number(),
        cwd: number(),
        root: wanted.has_root.then(&mut number),
    };
    let pages = wanted.source.files().iter().map(|_| number()).collect();
    let mapped = wanted.mapped.iter().map(|file| (*file, number())).collect();
    Ok(Numbers { messages, mapped, pages, fs })
}

fn flush_if_large(blank: &mut Blank, batch: &mut Batch) -> Result<(), Error> {
    if batch.len_bytes() > pages::LARGE {
        blank.run(batch)?;
        *batch = Batch::new();
    }
    Ok(())
}

/// Empties the table of descriptors but for one.
pub fn close_all_but(keep: i32, batch: &mut Batch) {
    const CLOSE_RANGE: i64 = 436;
    if keep > 0 {
        batch.call("close_range", CLOSE_RANGE, [0.into(), (keep - 1).into(), 0.into()]);
    }
    batch.call("close_range", CLOSE_RANGE, [(keep + 1).into(), u32::MAX.into(), 0.into()]);
}

/// Gives a process its further threads, and each thread what is its own.
pub fn threads(
    blank: &mut Blank,
    tree: &Tree,
    live: &Live,
    bounding: u64,
    channel: &Channel,
) -> Result<(), Error> {
    let others: Vec<i32> = live.threads.iter().skip(1).map(|thread| thread.tid.0).collect();
    blank.spawn_threads(&others)?;
    let own_pid = blank.own_pid();
    let batches: Vec<Batch> = live
        .threads
        .iter()
        .enumerate()
        .map(|(index, frozen)| {
            let mut batch = Batch::new();
            if index == 0 {
                const CLOSE: i64 = 3;
                // Where a table is shared, another process was quicker.
                batch.try_call("close", CLOSE, [channel.remote_fd().into()]);
                signal::flush_child_signals(&mut batch);
            }
            thread::thaw(frozen, &mut batch);
            thread::thaw_rights(tree, live, frozen, bounding, &mut batch);
            if index == 0 {
                process::thaw_last(live, own_pid, &mut batch);
            }
            signal::thaw_pending(&frozen.pending, own_pid, Some(frozen.tid.0), &mut batch);
            batch
        })
        .collect();
    // The leader first: filters for all threads come from it, before they change their rights.
    blank.run(&batches[0])?;
    for (index, batch) in batches.iter().enumerate().skip(1) {
        blank.start(index, batch)?;
    }
    for (index, batch) in batches.iter().enumerate().skip(1) {
        blank.finish(index, batch)?;
    }
    Ok(())
}

/// Takes our pages out of a process that has everything else.
pub fn leave(blank: &mut Blank, live: &Live) -> Result<(), Error> {
    let regs = thread::thaw_registers(blank, &live.threads)?;
    let masks = live.threads.iter().map(|thread| thread.blocked);
    let ends: Vec<(UserRegs, SignalMask)> = regs.into_iter().zip(masks).collect();
    blank.take_leave(&ends)?;
    Ok(())
}

/// Stops a process that job control had stopped.
pub fn stop(blank: &Blank, process: &Process) -> Result<(), Error> {
    if let stasis_model::State::Live { stopped_by: Some(_), live } = &process.state {
        blank.stop_by_job_control(live.leader().blocked)?;
    }
    Ok(())
}
