//! Contents of private memory. Only pages that exist are stored; pages that are the kernel's zero page,
//! or still the mapped file's own, are not.

mod copy;

use std::{
    io,
    ops::Range,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::OFlags;
use stasis_model::{Backing, PAGE_SIZE, PageRun, Protection, Vma};
use stasis_proctext::maps::Mapping;
use stasis_sys::{
    memory::{MAX_RANGES, RemoteRange},
    pagemap::{self, Filter},
};
use stasis_tracee::{Batch, Blank, Call, Patient, ProcDir};

pub use self::copy::Buffer;
use self::copy::{Copy, PIECE};
use crate::{
    content::{PageSink, PageSource, StoredRun, read_exact_at, write_all},
    error::{Error, Result},
};

/// How many pages were stored, and how many were left where the checkpoint before has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub written: u64,
    pub unchanged: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.written += other.written;
        self.unchanged += other.unchanged;
    }
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(mut self, other: Counts) -> Counts {
        self += other;
        self
    }
}

/// Private memory whose pages are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    pub range: Range<u64>,
    pub readable: bool,
    which: Which,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Pages that exist, but for those that are the file's own or the zero page.
    Existing,
    All,
}

impl Area {
    /// A piece of memory of which those pages are stored that exist.
    pub fn new(range: Range<u64>, protection: u32) -> Area {
        Area { range, readable: protection & Protection::READ != 0, which: Which::Existing }
    }

    fn of(vma: &Vma) -> Area {
        let area = Area::new(vma.range.clone(), vma.protection.0);
        match vma.backing {
            // Whoever restores it looks into it, and it is not anonymous memory.
            Backing::Vdso => Area { which: Which::All, ..area },
            _ => area,
        }
    }
}

/// Stores the pages of all private mappings; those in `untouched` ranges stay in the checkpoint before
/// if the sink knows them.
pub fn freeze(
    (proc, vmas): (&ProcDir, &[Vma]),
    untouched: &[Range<u64>],
    sink: &mut dyn PageSink,
    buffer: &mut Buffer,
) -> Result<Counts> {
    let what = format!("memory of task {}", proc.pid());
    let areas: Vec<Area> =
        vmas.iter().filter(|vma| vma.has_private_pages()).map(Area::of).collect();
    let mut copy = Copy::of(proc, buffer)?;
    let mut counts = Counts::default();
    for (run, readable) in find(proc, &areas)? {
        for part in split(run, untouched, sink.known()) {
            let moved = match part.kept {
                Kept::Before => {
                    counts.unchanged += part.run.nr_pages;
                    sink.record_known(part.run)
                }
                Kept::Here => {
                    counts.written += part.run.nr_pages;
                    copy.add(part.run, readable, sink).and_then(|()| sink.record(part.run))
                }
            };
            moved.map_err(|source| Error::Content { object: what.clone(), source })?;
        }
    }
    copy.flush(sink).map_err(|source| Error::Content { object: what, source })?;
    Ok(counts)
}

/// What is to be stored of a process that runs on: found while it stood.
#[derive(Debug)]
pub struct Found {
    pid: i32,
    /// Leads to the memory of then, whoever has the pid by now.
    memory: OwnedFd,
    runs: Vec<PageRun>,
}

/// Finds the pages of a stopped process that [`store_running`] stores.
pub fn find_for_later(patient: &Patient, areas: &[Area]) -> Result<Found> {
    let memory = patient.proc().open_file("mem", OFlags::RDONLY)?;
    let runs = find(patient.proc(), areas)?.into_iter().map(|(run, _)| run).collect();
    Ok(Found { pid: patient.pid(), memory, runs })
}

/// Stores pages of a process that runs. A page that changes meanwhile is stored in one state or another,
/// one that goes is left out: whoever restores must have noted both.
pub fn store_running(
    found: &Found,
    untouched: &[Range<u64>],
    sink: &mut dyn PageSink,
) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut buffer = vec![0; PIECE];
    for run in &found.runs {
        for part in split(*run, untouched, sink.known()) {
            let stored = match part.kept {
                Kept::Before => {
                    counts.unchanged += part.run.nr_pages;
                    sink.record_known(part.run)
                }
                Kept::Here => copy_what_is_there(found.memory.as_fd(), part.run, &mut buffer, sink)
                    .map(|nr_pages| counts.written += nr_pages),
            };
            let object = || format!("memory of task {}", found.pid);
            stored.map_err(|source| Error::Content { object: object(), source })?;
        }
    }
    Ok(counts)
}

/// Copies a run page by page where a page cannot be read; tells how many there were.
fn copy_what_is_there(
    memory: BorrowedFd<'_>,
    run: PageRun,
    buffer: &mut [u8],
    sink: &mut dyn PageSink,
) -> io::Result<u64> {
    let (mut at, mut nr_pages) = (run.start, 0);
    while at < run.end() {
        let len = usize::try_from(run.end() - at).unwrap_or(PIECE).min(PIECE);
        let got = rustix::io::pread(memory, &mut buffer[..len], at).unwrap_or(0) as u64;
        let whole = got / PAGE_SIZE;
        if whole == 0 {
            at += PAGE_SIZE;
            continue;
        }
        write_all(sink.file(), &buffer[..usize::try_from(whole * PAGE_SIZE).unwrap_or(len)])?;
        sink.record(PageRun { start: at, nr_pages: whole })?;
        nr_pages += whole;
        at += whole * PAGE_SIZE;
    }
    Ok(nr_pages)
}

/// Where the content of a part is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Here,
    Before,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    run: PageRun,
    kept: Kept,
}

/// Cuts a run into parts that are untouched and known, and those that are not. Both lists are in
/// ascending order.
fn split(run: PageRun, untouched: &[Range<u64>], known: &[PageRun]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = run.start;
    let first = untouched.partition_point(|range| range.end <= run.start);
    for range in untouched[first..].iter().take_while(|range| range.start < run.end()) {
        let from = known.partition_point(|known| known.end() <= range.start);
        for known in known[from..].iter().take_while(|known| known.start < range.end) {
            let start = known.start.max(range.start).max(at);
            let end = known.end().min(range.end).min(run.end());
            if start < end {
                push(&mut parts, at..start, Kept::Here);
                push(&mut parts, start..end, Kept::Before);
                at = end;
            }
        }
    }
    push(&mut parts, at..run.end(), Kept::Here);
    parts
}

fn push(parts: &mut Vec<Part>, range: Range<u64>, kept: Kept) {
    let nr_pages = (range.end - range.start) / PAGE_SIZE;
    if nr_pages > 0 {
        parts.push(Part { run: PageRun { start: range.start, nr_pages }, kept });
    }
}

/// Runs of pages to be stored, and whether their mapping can be read.
fn find(proc: &ProcDir, areas: &[Area]) -> Result<Vec<(PageRun, bool)>> {
    let what = format!("memory of task {}", proc.pid());
    let pagemap = proc.open_file("pagemap", OFlags::RDONLY)?;
    let not = pagemap::FILE | pagemap::PFN_ZERO | pagemap::GUARD;
    let filter =
        Filter { all: not, inverted: not, any: pagemap::PRESENT | pagemap::SWAPPED, told: 0 };
    let regions = scan_all(pagemap.as_fd(), areas, filter)
        .or_else(|errno| match errno {
            // Kernels before 6.15 do not know guard pages as a category.
            stasis_sys::Errno::INVAL => {
                scan_all(pagemap.as_fd(), areas, filter.without(pagemap::GUARD))
            }
            errno => Err(errno),
        })
        .map_err(Error::at(&what, "ioctl(PAGEMAP_SCAN)"))?;
    let mut runs = Vec::new();
    for area in areas {
        let (start, end) = (area.range.start, area.range.end);
        if area.which == Which::All {
            runs.push((PageRun { start, nr_pages: (end - start) / PAGE_SIZE }, area.readable));
            continue;
        }
        let first = regions.partition_point(|region| region.end <= start);
        let inside = regions[first..].iter().take_while(|region| region.start < end);
        runs.extend(inside.map(|region| {
            let (start, end) = (region.start.max(start), region.end.min(end));
            (PageRun { start, nr_pages: (end - start) / PAGE_SIZE }, area.readable)
        }));
    }
    Ok(runs)
}

/// One look at all areas together, which costs less than one at each.
fn scan_all(
    pagemap: BorrowedFd<'_>,
    areas: &[Area],
    filter: Filter,
) -> stasis_sys::Result<Vec<pagemap::Region>> {
    let (Some(first), Some(last)) = (areas.first(), areas.last()) else { return Ok(Vec::new()) };
    pagemap::scan(pagemap, first.range.start, last.range.end, filter)
}

/// Ranges of `MADV_GUARD_INSTALL` (madvise(2), Linux 6.13): pages that fault though they are mapped.
pub fn guards(proc: &ProcDir, mappings: &[Mapping]) -> Result<Vec<std::ops::Range<u64>>> {
    let what = format!("memory of task {}", proc.pid());
    let pagemap = proc.open_file("pagemap", OFlags::RDONLY)?;
    let filter = Filter { all: pagemap::GUARD, ..Filter::default() };
    let user = mappings.iter().filter(|map| map.name != b"[vsyscall]");
    let areas: Vec<Area> = user.map(|map| Area::new(map.range.clone(), map.protection)).collect();
    match scan_all(pagemap.as_fd(), &areas, filter) {
        Ok(regions) => Ok(regions.into_iter().map(|region| region.start..region.end).collect()),
        // Kernels before 6.15 do not tell them.
        Err(stasis_sys::Errno::INVAL) => Ok(Vec::new()),
        Err(errno) => Err(Error::at(what, "ioctl(PAGEMAP_SCAN)")(errno)),
    }
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

/// The stored pages, in groups that can be read by one call each.
pub fn groups(vmas: &[Vma], runs: &[StoredRun]) -> impl Iterator<Item = Group> {
    Groups::new(vmas, runs)
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    file: usize,
    offset: u64,
    len: u64,
    pieces: Vec<std::ops::Range<u64>>,
}

impl Group {
    /// Adds the call that reads them straight into place, whose result is to be checked by [`check`]; `fds` are
    /// the numbers of the files of pages in the blank.
    pub fn thaw(&self, fds: &[i32], batch: &mut Batch) -> Read {
        const PREADV: i64 = 295;
        let words: Vec<u64> =
            self.pieces.iter().flat_map(|piece| [piece.start, piece.end - piece.start]).collect();
        let vector = batch.words(&words);
        let (fd, nr_pieces) = (fds[self.file], self.pieces.len());
        let arguments = [fd.into(), vector.into(), nr_pieces.into(), self.offset.into(), 0.into()];
        Read { call: batch.call("preadv", PREADV, arguments), len: self.len }
    }

    /// Reads them here and writes them into place.
    ///
    /// # Effect on the tracee
    /// Its mappings must be there and writable; it may execute calls meanwhile.
    pub fn bring(
        mut self,
        files: &[BorrowedFd<'_>],
        blank: &Blank,
        Buffer(buffer): &mut Buffer,
    ) -> Result<()> {
        while self.len > 0 {
            let portion = self.split_off_front(PIECE as u64);
            let len = usize::try_from(portion.len).unwrap_or(PIECE);
            let read = read_exact_at(files[portion.file], &mut buffer[..len], portion.offset);
            read.map_err(|source| Error::Content {
                object: format!("memory of task {}", blank.pid()),
                source,
            })?;
            blank.write_ranges(&portion.ranges(), &buffer[..len])?;
        }
        Ok(())
    }

    fn ranges(&self) -> Vec<RemoteRange> {
        let range = |piece: &Range<u64>| RemoteRange {
            address: piece.start,
            len: usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX),
        };
        self.pieces.iter().map(range).collect()
    }

    /// Takes away so many bytes, or all that there are.
    fn split_off_front(&mut self, len: u64) -> Group {
        let mut front = Group { len: 0, pieces: Vec::new(), ..*self };
        let mut whole = 0;
        for piece in &mut self.pieces {
            let taken = (piece.end - piece.start).min(len - front.len);
            front.pieces.push(piece.start..piece.start + taken);
            front.len += taken;
            piece.start += taken;
            whole += usize::from(piece.is_empty());
            if front.len == len {
                break;
            }
        }
        self.pieces.drain(..whole);
        self.offset += front.len;
        self.len -= front.len;
        front
    }
}

/// Cuts groups into two halves of as many bytes.
pub fn halve(groups: Vec<Group>) -> [Vec<Group>; 2] {
    let all: u64 = groups.iter().map(|group| group.len).sum();
    let mut wanted = all / 2 / PAGE_SIZE * PAGE_SIZE;
    let mut halves = [Vec::new(), Vec::new()];
    for mut group in groups {
        if wanted > 0 {
            let front = group.split_off_front(wanted);
            wanted -= front.len;
            halves[0].push(front);
        }
        if group.len > 0 {
            halves[1].push(group);
        }
    }
    halves
}

struct Groups {
    pieces: std::iter::Peekable<std::vec::IntoIter<(usize, u64, std::ops::Range<u64>)>>,
}

impl Groups {
    fn new(vmas: &[Vma], runs: &[StoredRun]) -> Self {
        let mut pieces = Vec::new();
        let vdsos: Vec<&Vma> = vmas.iter().filter(|vma| vma.backing == Backing::Vdso).collect();
        for stored in runs {
            let run = &stored.run;
            let is_inside = |vma: &&Vma| vma.range.start <= run.start && run.end() <= vma.range.end;
            // The running kernel's vDSO is in place already.
            if !vdsos.iter().any(is_inside) {
                pieces.push((stored.file, stored.offset, stored.run.start..stored.run.end()));
            }
        }
        Groups { pieces: pieces.into_iter().peekable() }
    }
}

impl Iterator for Groups {
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

#[cfg(test)]
mod tests {
    use super::*;

    const P: u64 = PAGE_SIZE;

    fn run(start: u64, end: u64) -> PageRun {
        PageRun { start: start * P, nr_pages: end - start }
    }

    /// Page numbers in, page numbers out; `<` marks what stays in the checkpoint before.
    fn check(whole: (u64, u64), untouched: &[(u64, u64)], known: &[(u64, u64)], expect: &str) {
        let untouched: Vec<_> = untouched.iter().map(|(a, b)| a * P..b * P).collect();
        let known: Vec<_> = known.iter().map(|(a, b)| run(*a, *b)).collect();
        let parts = split(run(whole.0, whole.1), &untouched, &known);
        let words: Vec<String> = parts
            .iter()
            .map(|part| {
                let mark = if part.kept == Kept::Before { "<" } else { "" };
                format!("{mark}{}-{}", part.run.start / P, part.run.end() / P)
            })
            .collect();
        assert_eq!(words.join(" "), expect);
    }

    #[test]
    fn only_what_is_untouched_and_known_stays_before() {
        check((10, 20), &[], &[(0, 99)], "10-20");
        check((10, 20), &[(0, 99)], &[], "10-20");
        check((10, 20), &[(0, 99)], &[(0, 99)], "<10-20");
        check(
            (10, 20),
            &[(0, 12), (15, 16), (19, 30)],
            &[(0, 99)],
            "<10-12 12-15 <15-16 16-19 <19-20",
        );
        check(
            (10, 20),
            &[(11, 18)],
            &[(5, 12), (13, 14), (17, 40)],
            "10-11 <11-12 12-13 <13-14 14-17 <17-18 18-20",
        );
        check((10, 20), &[(0, 10), (20, 21)], &[(0, 99)], "10-20");
    }

    #[test]
    fn halves_have_as_many_pages_and_lie_where_they_lay() {
        let group = |offset: u64, pieces: &[(u64, u64)]| Group {
            file: 1,
            offset: offset * P,
            len: pieces.iter().map(|(start, end)| end - start).sum::<u64>() * P,
            pieces: pieces.iter().map(|(start, end)| start * P..end * P).collect(),
        };
        let one = group(5, &[(10, 12), (20, 26), (30, 31)]);
        assert_eq!(
            halve(vec![one]),
            [vec![group(5, &[(10, 12), (20, 22)])], vec![group(9, &[(22, 26), (30, 31)])]]
        );
        let several = vec![group(0, &[(1, 2)]), group(7, &[(3, 4)]), group(9, &[(5, 7)])];
        let [first, second] = halve(several.clone());
        assert_eq!((&*first, &*second), (&several[..2], &several[2..]));
        assert_eq!(halve(vec![group(0, &[(1, 2)])]), [vec![], vec![group(0, &[(1, 2)])]]);
        assert_eq!(halve(Vec::new()), [vec![], vec![]]);
    }
}
