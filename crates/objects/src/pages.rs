//! Contents of private memory. Only pages that exist are stored; pages that are the kernel's zero page,
//! or still the mapped file's own, are not.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::fs::OFlags;
use stasis_model::{Backing, PAGE_SIZE, PageRun, Protection, Vma};
use stasis_sys::{
    memory::{self, MAX_RANGES, RemoteRange},
    pagemap::{self, Filter},
};
use stasis_tracee::{Batch, Call, Patient};

use crate::{
    content::{PageSink, PageSource, write_all},
    error::{Error, Result},
};

/// Bytes that are moved at once.
const PIECE: usize = 1 << 20;

/// Stores the pages of all private mappings and returns how many there were.
pub fn freeze(patient: &Patient, vmas: &[Vma], sink: &mut dyn PageSink) -> Result<u64> {
    let what = format!("memory of task {}", patient.pid());
    let runs = find(patient, vmas)?;
    let mut writer =
        Writer { pid: patient.pid(), buffer: vec![0; PIECE], runs: Vec::new(), len: 0 };
    let memory = patient.proc().open_file("mem", OFlags::RDONLY)?;
    let mut total = 0;
    for (run, readable) in runs {
        let moved = if readable {
            writer.add(run, sink)
        } else {
            // Memory without read permission is read the slow way.
            writer.flush(sink).and_then(|()| copy_forced(memory.as_fd(), run, sink))
        };
        moved
            .and_then(|()| sink.record(run))
            .map_err(|source| Error::Content { object: what.clone(), source })?;
        total += run.nr_pages;
    }
    writer.flush(sink).map_err(|source| Error::Content { object: what, source })?;
    Ok(total)
}

/// Runs of pages to be stored, and whether their mapping can be read.
fn find(patient: &Patient, vmas: &[Vma]) -> Result<Vec<(PageRun, bool)>> {
    let what = format!("memory of task {}", patient.pid());
    let pagemap = patient.proc().open_file("pagemap", OFlags::RDONLY)?;
    let not = pagemap::FILE | pagemap::PFN_ZERO | pagemap::GUARD;
    let filter =
        Filter { all: not, inverted: not, any: pagemap::PRESENT | pagemap::SWAPPED, told: 0 };
    let regions = scan_all(pagemap.as_fd(), vmas, filter)
        .or_else(|errno| match errno {
            // Kernels before 6.15 do not know guard pages as a category.
            stasis_sys::Errno::INVAL => {
                scan_all(pagemap.as_fd(), vmas, filter.without(pagemap::GUARD))
            }
            errno => Err(errno),
        })
        .map_err(Error::at(&what, "ioctl(PAGEMAP_SCAN)"))?;
    let mut runs = Vec::new();
    for vma in vmas.iter().filter(|vma| vma.has_private_pages()) {
        let readable = vma.protection.0 & Protection::READ != 0;
        let (start, end) = (vma.range.start, vma.range.end);
        if vma.backing == Backing::Vdso {
            // Whoever restores it looks into it, and it is not anonymous memory.
            runs.push((PageRun { start, nr_pages: vma.nr_pages() }, readable));
            continue;
        }
        let first = regions.partition_point(|region| region.end <= start);
        let inside = regions[first..].iter().take_while(|region| region.start < end);
        runs.extend(inside.map(|region| {
            let (start, end) = (region.start.max(start), region.end.min(end));
            (PageRun { start, nr_pages: (end - start) / PAGE_SIZE }, readable)
        }));
    }
    Ok(runs)
}

/// One look at the whole address space, which costs less than one at each mapping.
fn scan_all(
    pagemap: BorrowedFd<'_>,
    vmas: &[Vma],
    filter: Filter,
) -> stasis_sys::Result<Vec<pagemap::Region>> {
    let mut user = vmas.iter().filter(|vma| vma.backing != Backing::Vsyscall);
    let Some(first) = user.next() else { return Ok(Vec::new()) };
    let last = user.next_back().unwrap_or(first);
    pagemap::scan(pagemap, first.range.start, last.range.end, filter)
}

/// Ranges of `MADV_GUARD_INSTALL` (madvise(2), Linux 6.13): pages that fault though they are mapped.
pub fn guards(patient: &Patient, vmas: &[Vma]) -> Result<Vec<std::ops::Range<u64>>> {
    let what = format!("memory of task {}", patient.pid());
    let pagemap = patient.proc().open_file("pagemap", OFlags::RDONLY)?;
    let filter = Filter { all: pagemap::GUARD, ..Filter::default() };
    match scan_all(pagemap.as_fd(), vmas, filter) {
        Ok(regions) => Ok(regions.into_iter().map(|region| region.start..region.end).collect()),
        // Kernels before 6.15 do not tell them.
        Err(stasis_sys::Errno::INVAL) => Ok(Vec::new()),
        Err(errno) => Err(Error::at(what, "ioctl(PAGEMAP_SCAN)")(errno)),
    }
}

/// Gathers runs until a piece is full, then moves them with one call each way.
struct Writer {
    pid: i32,
    buffer: Vec<u8>,
    runs: Vec<RemoteRange>,
    len: usize,
}

impl Writer {
    fn add(&mut self, run: PageRun, sink: &mut dyn PageSink) -> io::Result<()> {
        let mut address = run.start;
        let end = run.end();
        while address < end {
            if self.len == PIECE || self.runs.len() == MAX_RANGES {
                self.flush(sink)?;
            }
            let len = usize::try_from(end - address).unwrap_or(PIECE).min(PIECE - self.len);
            self.runs.push(RemoteRange { address, len });
            self.len += len;
            address += len as u64;
        }
        Ok(())
    }

    fn flush(&mut self, sink: &mut dyn PageSink) -> io::Result<()> {
        if self.len == 0 {
            return Ok(());
        }
        sink.may_go_on()?;
        let piece = &mut self.buffer[..self.len];
        let got = memory::read(self.pid, &self.runs, piece)?;
        if got != piece.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_all(sink.file(), piece)?;
        self.runs.clear();
        self.len = 0;
        Ok(())
    }
}

fn copy_forced(memory: BorrowedFd<'_>, run: PageRun, sink: &dyn PageSink) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = run.start;
    while at < run.end() {
        sink.may_go_on()?;
        let len = usize::try_from(run.end() - at).unwrap_or(PIECE).min(PIECE);
        let got = rustix::io::pread(memory, &mut buffer[..len], at)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_all(sink.file(), &buffer[..got])?;
        at += got as u64;
    }
    Ok(())
}

/// Which mappings have stored content, by index.
pub fn mappings_with_content(vmas: &[Vma], source: &dyn PageSource) -> Vec<bool> {
    let runs = source.runs();
    vmas.iter()
        .map(|vma| {
            let at = runs.partition_point(|stored| stored.run.end() <= vma.range.start);
            runs.get(at).is_some_and(|stored| stored.run.start < vma.range.end)
        })
        .collect()
}

/// Adds calls that read the stored pages straight into place; `fds` are the numbers of the source's
/// files in the blank. The calls' results are to be checked by [`check`].
///
/// A batch that has grown large is given to `run`, which leaves an empty one and checked reads.
pub fn thaw<E>(
    vmas: &[Vma],
    source: &dyn PageSource,
    fds: &[i32],
    batch: &mut Batch,
    mut run: impl FnMut(&mut Batch, &mut Vec<Read>) -> std::result::Result<(), E>,
) -> std::result::Result<Vec<Read>, E> {
    const PREADV: i64 = 295;
    let mut reads = Vec::new();
    for group in Groups::new(vmas, source) {
        let words: Vec<u64> =
            group.pieces.iter().flat_map(|piece| [piece.start, piece.end - piece.start]).collect();
        let vector = batch.words(&words);
        let call = batch.call(
            "preadv",
            PREADV,
            [
                fds[group.file].into(),
                vector.into(),
                group.pieces.len().into(),
                group.offset.into(),
                0.into(),
            ],
        );
        reads.push(Read { call, len: group.len });
        if batch.len_bytes() > LARGE {
            run(batch, &mut reads)?;
        }
    }
    Ok(reads)
}

/// Bytes from which a batch is better executed than made larger.
pub const LARGE: usize = 1 << 20;

/// A read whose length is known beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    call: Call,
    len: u64,
}

/// Fails if a read was cut short.
pub fn check(outcome: &stasis_tracee::Outcome, reads: &[Read], what: &str) -> Result<()> {
    for read in reads {
        let got = outcome.result(read.call).map_err(Error::at(what, "preadv"))?;
        if got != read.len {
            let reason = format!("{got} of {} bytes could be read", read.len);
            return Err(Error::Changed { object: what.into(), reason });
        }
    }
    Ok(())
}

/// Pieces that lie one behind the other in a file and so can be read by one call.
struct Group {
    file: usize,
    offset: u64,
    len: u64,
    pieces: Vec<std::ops::Range<u64>>,
}

struct Groups<'a> {
    pieces: std::iter::Peekable<std::vec::IntoIter<(usize, u64, std::ops::Range<u64>)>>,
    _source: &'a dyn PageSource,
}

impl<'a> Groups<'a> {
    fn new(vmas: &[Vma], source: &'a dyn PageSource) -> Self {
        let mut pieces = Vec::new();
        for stored in source.runs() {
            let inside_vdso = vmas.iter().any(|vma| {
                vma.backing == Backing::Vdso
                    && stored.run.start >= vma.range.start
                    && stored.run.end() <= vma.range.end
            });
            // The running kernel's vDSO is in place already.
            if !inside_vdso {
                pieces.push((stored.file, stored.offset, stored.run.start..stored.run.end()));
            }
        }
        Groups { pieces: pieces.into_iter().peekable(), _source: source }
    }
}

impl Iterator for Groups<'_> {
    type Item = Group;

    fn next(&mut self) -> Option<Group> {
        const MAX_LEN: u64 = 1 << 30;
        let (file, offset, first) = self.pieces.next()?;
        let mut group = Group { file, offset, len: first.end - first.start, pieces: vec![first] };
        while let Some((next_file, next_offset, next)) = self.pieces.peek() {
            let len = next.end - next.start;
            let follows = *next_file == file && *next_offset == group.offset + group.len;
            if !follows || group.pieces.len() == MAX_RANGES || group.len + len > MAX_LEN {
                break;
            }
            group.len += len;
            match group.pieces.last_mut() {
                Some(last) if last.end == next.start => last.end = next.end,
                _ => group.pieces.push(next.clone()),
            }
            self.pieces.next();
        }
        Some(group)
    }
}
