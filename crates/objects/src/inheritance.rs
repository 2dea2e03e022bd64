//! Memory that a process has in common with the one it was born of (fork(2)): private pages that neither
//! has written to since are there once, and copied for whoever writes first.
//!
//! A checkpoint has the pages of each process for itself. A child that is born when its parent already
//! has its memory finds all of that; here it is found out what it keeps, what it must still be given,
//! and what it must lose.

use std::{io, ops::Range, os::fd::BorrowedFd};

use stasis_model::{AddressSpace, Backing, MapFlags, PAGE_SIZE, PageRun, Protection, Vma};
use stasis_tracee::Batch;

use crate::{
    address_space,
    content::{PageSource, StoredRun, read_exact_at},
    pages, ranges,
};

const MADVISE: i64 = 28;
const MADV_DONTNEED: u32 = 4;

/// Bytes that are compared at once.
const PIECE: usize = 1 << 16;

/// Mappings and the stored pages of one process.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    pub vmas: &'a [Vma],
    pub source: &'a dyn PageSource,
}

/// What a process keeps of the memory that it was born with.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// For each mapping that is kept, the protection that it comes with.
    kept: Vec<Option<Protection>>,
    /// Pages that are still to be read.
    pub missing: Vec<StoredRun>,
    /// Pages that the process does not have, in mappings that are kept.
    surplus: Vec<Range<u64>>,
}

/// Whether a process that is born of another one has anything of its memory, as far as can be told
/// without looking at contents: it runs the same program and has private writable memory at the same
/// place.
pub fn is_likely(heir: &AddressSpace, lender: &AddressSpace) -> bool {
    heir.executable == lender.executable
        && heir.vmas.iter().any(|vma| {
            let is_written = vma.protection.0 & Protection::WRITE != 0 && vma.has_private_pages();
            is_written && around(vma, &lender.vmas).is_some_and(|(_, wider)| is_same(vma, wider))
        })
}

impl Inheritance {
    /// Nothing is kept, everything is to be read.
    pub fn none(heir: Memory<'_>) -> Self {
        Inheritance {
            kept: vec![None; heir.vmas.len()],
            missing: heir.source.runs().to_vec(),
            surplus: Vec::new(),
        }
    }

    /// Compares what the two have. The lender has its memory, but not its last protections and advice
    /// ([`address_space::finish`]).
    ///
    /// # Errors
    /// If the files of pages cannot be read.
    pub fn between(
        heir: Memory<'_>,
        lender: Memory<'_>,
        buffers: &mut Buffers,
    ) -> io::Result<Self> {
        let of_heir = pages::mappings_with_content(heir.vmas, heir.source);
        let of_lender = pages::mappings_with_content(lender.vmas, lender.source);
        let keep = |(vma, has_content): (&Vma, &bool)| {
            let (index, wider) = around(vma, lender.vmas)?;
            let comes_with = address_space::first_protection(wider, of_lender[index]);
            let is_filled = !*has_content || comes_with.0 & Protection::WRITE != 0;
            (is_same(vma, wider) && is_filled).then_some(comes_with)
        };
        let kept: Vec<_> = heir.vmas.iter().zip(&of_heir).map(keep).collect();
        let mut inheritance = Inheritance { kept, missing: Vec::new(), surplus: Vec::new() };
        let common = inheritance.kept_ranges(heir.vmas);
        inheritance.sort_out(&common, (heir.source, lender.source), buffers)?;
        Ok(inheritance)
    }

    /// The protection with which a mapping is there already.
    pub fn kept(&self, index: usize) -> Option<Protection> {
        self.kept.get(index).copied().flatten()
    }

    /// Where the mappings are that are kept.
    pub fn kept_ranges(&self, vmas: &[Vma]) -> Vec<Range<u64>> {
        let of_kept = |(vma, kept): (&Vma, &Option<Protection>)| kept.map(|_| vma.range.clone());
        vmas.iter().zip(&self.kept).filter_map(of_kept).collect()
    }

    /// Number of pages that are to be read.
    pub fn nr_missing(&self) -> u64 {
        self.missing.iter().map(|stored| stored.run.nr_pages).sum()
    }

    /// Adds the calls that take away what only the lender has.
    pub fn drop_surplus(&self, batch: &mut Batch) {
        for range in &self.surplus {
            let len = range.end - range.start;
            batch.call("madvise", MADVISE, [range.start.into(), len.into(), MADV_DONTNEED.into()]);
        }
    }

    fn sort_out(
        &mut self,
        common: &[Range<u64>],
        (heir, lender): (&dyn PageSource, &dyn PageSource),
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        let files = (heir.files(), lender.files());
        let ranges = |runs: &[StoredRun]| runs.iter().map(StoredRun::range).collect::<Vec<_>>();
        let (of_heir, of_lender) = (ranges(heir.runs()), ranges(lender.runs()));
        let mut comparison = Comparison { heir: &files.0, lender: &files.1, buffers };
        for stored in heir.runs() {
            let whole = stored.range();
            let common = ranges::from(common, &whole);
            let lone = |range: &Range<u64>| stored.part(range);
            self.missing.extend(ranges::outside(&whole, common).iter().map(lone));
            for range in ranges::inside(&whole, common) {
                let first = of_lender.partition_point(|other| other.end <= range.start);
                let others = &of_lender[first..];
                self.missing.extend(ranges::outside(&range, others).iter().map(lone));
                for theirs in lender.runs()[first..].iter() {
                    if theirs.run.start >= range.end {
                        break;
                    }
                    let both = ranges::inside(&range, [&theirs.range()]);
                    for range in &both {
                        let pair = (stored.part(range), theirs.part(range));
                        comparison.unlike(pair, &mut self.missing)?;
                    }
                }
            }
        }
        self.missing.sort_unstable_by_key(|stored| stored.run.start);
        for whole in &of_lender {
            for range in ranges::inside(whole, ranges::from(common, whole)) {
                self.surplus.extend(ranges::outside(&range, ranges::from(&of_heir, &range)));
            }
        }
        Ok(())
    }
}

/// The mapping of a list that a mapping lies within.
fn around<'a>(vma: &Vma, vmas: &'a [Vma]) -> Option<(usize, &'a Vma)> {
    let index = vmas.partition_point(|other| other.range.end <= vma.range.start);
    let wider = vmas.get(index)?;
    let is_within = wider.range.start <= vma.range.start && vma.range.end <= wider.range.end;
    is_within.then_some((index, wider))
}

/// Whether a mapping can be what is left of a wider one after fork(2).
fn is_same(vma: &Vma, wider: &Vma) -> bool {
    // Locks are not inherited, and huge pages of the pool are copied at once.
    let inherited = |flags: MapFlags| MapFlags { locked: false, locked_on_fault: false, ..flags };
    vma.protection == wider.protection
        && inherited(vma.flags) == inherited(wider.flags)
        && vma.flags.huge_page_shift.is_none()
        && is_same_backing(vma, wider)
}

fn is_same_backing(vma: &Vma, wider: &Vma) -> bool {
    use Backing::*;
    let further = vma.range.start - wider.range.start;
    match (&vma.backing, &wider.backing) {
        (AnonymousPrivate | Heap, AnonymousPrivate | Heap) => true,
        (
            FilePrivate { file, offset, open_mode },
            FilePrivate { file: other, offset: from, open_mode: mode },
        )
        | (
            FileShared { file, offset, open_mode },
            FileShared { file: other, offset: from, open_mode: mode },
        )
        | (
            MemfdPrivate { file, offset, open_mode },
            MemfdPrivate { file: other, offset: from, open_mode: mode },
        )
        | (
            MemfdShared { file, offset, open_mode },
            MemfdShared { file: other, offset: from, open_mode: mode },
        ) => (file, open_mode, *offset) == (other, mode, from + further),
        (SegmentShared { segment, offset }, SegmentShared { segment: other, offset: from }) => {
            (segment, *offset) == (other, from + further)
        }
        // Attached, made by the kernel, or not inherited.
        (
            AnonymousPrivate
            | Heap
            | Droppable
            | FilePrivate { .. }
            | FileShared { .. }
            | MemfdPrivate { .. }
            | MemfdShared { .. }
            | SegmentShared { .. }
            | SystemV { .. }
            | Vdso
            | Vvar
            | Vsyscall
            | AioRing,
            _,
        ) => false,
    }
}

/// Room for what is compared.
#[derive(Debug)]
pub struct Buffers(Vec<u8>, Vec<u8>);

impl Default for Buffers {
    fn default() -> Self {
        Buffers(vec![0; PIECE], vec![0; PIECE])
    }
}

/// Compares stored pages of two processes.
struct Comparison<'a> {
    heir: &'a [BorrowedFd<'a>],
    lender: &'a [BorrowedFd<'a>],
    buffers: &'a mut Buffers,
}

impl Comparison<'_> {
    /// Tells which pages of the heir's run are not as the lender's run of the same addresses.
    fn unlike(
        &mut self,
        (ours, theirs): (StoredRun, StoredRun),
        unlike: &mut Vec<StoredRun>,
    ) -> io::Result<()> {
        let len_bytes = ours.run.nr_pages * PAGE_SIZE;
        let mut done = 0;
        while done < len_bytes {
            let len = usize::try_from(len_bytes - done).unwrap_or(PIECE).min(PIECE);
            let (mine, other) = (&mut self.buffers.0[..len], &mut self.buffers.1[..len]);
            read_exact_at(self.heir[ours.file], mine, ours.offset + done)?;
            read_exact_at(self.lender[theirs.file], other, theirs.offset + done)?;
            let size = PAGE_SIZE as usize;
            let pairs = mine.chunks_exact(size).zip(other.chunks_exact(size)).zip(0..);
            for (_, page) in pairs.filter(|((mine, other), _)| mine != other) {
                let start = ours.run.start + done + page * PAGE_SIZE;
                add_page(ours.part(&(start..start + PAGE_SIZE)), unlike);
            }
            done += len as u64;
        }
        Ok(())
    }
}

/// Adds a page to the run before it if it follows that one in memory and file.
fn add_page(page: StoredRun, runs: &mut Vec<StoredRun>) {
    match runs.last_mut() {
        Some(last)
            if last.run.end() == page.run.start
                && last.file == page.file
                && last.offset + last.run.nr_pages * PAGE_SIZE == page.offset =>
        {
            last.run = PageRun { nr_pages: last.run.nr_pages + 1, ..last.run };
        }
        _ => runs.push(page),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsFd};

    use stasis_model::FileId;

    use super::*;

    const P: u64 = PAGE_SIZE;
    const READ_WRITE: u32 = 3;

    /// A process's stored pages: page number and the byte that fills it.
    struct Stored {
        file: std::fs::File,
        runs: Vec<StoredRun>,
    }

    impl Stored {
        fn new(pages: &[(u64, u8)]) -> Stored {
            let mut file = tempfile::tempfile().unwrap();
            let mut runs: Vec<StoredRun> = Vec::new();
            for ((page, byte), offset) in pages.iter().zip((0..).step_by(P as usize)) {
                file.write_all(&[*byte; P as usize]).unwrap();
                let run = PageRun { start: page * P, nr_pages: 1 };
                add_page(StoredRun { run, file: 0, offset }, &mut runs);
            }
            Stored { file, runs }
        }
    }

    impl PageSource for Stored {
        fn files(&self) -> Vec<BorrowedFd<'_>> {
            vec![self.file.as_fd()]
        }

        fn runs(&self) -> &[StoredRun] {
            &self.runs
        }
    }

    fn anonymous(start: u64, end: u64) -> Vma {
        Vma {
            range: start * P..end * P,
            protection: Protection(READ_WRITE),
            flags: MapFlags::default(),
            backing: Backing::AnonymousPrivate,
            advice: 0,
            name: None,
            protection_key: 0,
        }
    }

    fn of_file(start: u64, end: u64, file: u32, offset: u64) -> Vma {
        let backing = Backing::FilePrivate { file: FileId(file), offset: offset * P, open_mode: 0 };
        Vma { backing, protection: Protection(Protection::READ), ..anonymous(start, end) }
    }

    type Pages<'a> = &'a [(u64, u8)];

    /// Page numbers in, page numbers out: where mappings are kept, what is read, and what is dropped.
    fn check(heir: (&[Vma], Pages), lender: (&[Vma], Pages), expect: [&str; 3]) {
        let (of_heir, of_lender) = (Stored::new(heir.1), Stored::new(lender.1));
        let found = Inheritance::between(
            Memory { vmas: heir.0, source: &of_heir },
            Memory { vmas: lender.0, source: &of_lender },
            &mut Buffers::default(),
        );
        let found = found.unwrap();
        let words = |ranges: Vec<Range<u64>>| {
            let words = ranges.iter().map(|range| format!("{}-{}", range.start / P, range.end / P));
            words.collect::<Vec<_>>().join(" ")
        };
        let missing = found.missing.iter().map(StoredRun::range).collect();
        assert_eq!(words(found.kept_ranges(heir.0)), expect[0], "kept");
        assert_eq!(words(missing), expect[1], "read");
        assert_eq!(words(found.surplus.clone()), expect[2], "dropped");
        for stored in &found.missing {
            let mut byte = [0];
            let wanted = heir.1.iter().find(|(page, _)| page * P == stored.run.start).unwrap().1;
            read_exact_at(of_heir.file.as_fd(), &mut byte, stored.offset).unwrap();
            assert_eq!(byte[0], wanted, "the first byte of what is read");
        }
    }

    #[test]
    fn equal_pages_are_left_and_others_read_or_dropped() {
        check(
            (&[anonymous(10, 20)], &[(10, 1), (11, 2), (12, 3), (13, 9), (15, 5), (19, 7)]),
            (&[anonymous(10, 20)], &[(10, 1), (11, 8), (12, 3), (13, 4), (14, 4), (15, 5)]),
            ["10-20", "11-12 13-14 19-20", "14-15"],
        );
    }

    #[test]
    fn a_mapping_is_kept_only_within_one_like_it() {
        // Grown since, moved, of another protection, or new.
        let lender = [anonymous(10, 12), anonymous(20, 30), of_file(40, 44, 1, 0)];
        let own = (20, 1);
        check((&[anonymous(20, 31)], &[own]), (&lender, &[own]), ["", "20-21", ""]);
        check((&[anonymous(19, 30)], &[own]), (&lender, &[own]), ["", "20-21", ""]);
        check((&[anonymous(50, 51)], &[(50, 1)]), (&lender, &[own]), ["", "50-51", ""]);
        let read_only = Vma { protection: Protection(Protection::READ), ..anonymous(20, 30) };
        check((&[read_only], &[own]), (&lender, &[own]), ["", "20-21", ""]);
        check(
            (&[anonymous(21, 22), anonymous(24, 26)], &[(21, 1), (25, 2)]),
            (&lender, &[own, (21, 1), (23, 1), (24, 1)]),
            ["21-22 24-26", "25-26", "24-25"],
        );
    }

    #[test]
    fn files_must_be_the_same_at_the_same_place() {
        let lender = [of_file(40, 44, 1, 2)];
        check((&[of_file(41, 44, 1, 3)], &[]), (&lender, &[(41, 1)]), ["41-44", "", "41-42"]);
        check((&[of_file(41, 44, 1, 2)], &[]), (&lender, &[]), ["", "", ""]);
        check((&[of_file(41, 44, 2, 3)], &[]), (&lender, &[]), ["", "", ""]);
        // Content cannot be read into what was never to be written.
        check((&[of_file(40, 44, 1, 2)], &[(40, 1)]), (&lender, &[]), ["", "40-41", ""]);
        check((&[of_file(40, 44, 1, 2)], &[(40, 1)]), (&lender, &[(40, 1)]), ["40-44", "", ""]);
    }
}
