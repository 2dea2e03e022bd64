//! userfaultfd(2) as a notebook of what a process writes to, between two rounds of its checkpoint.
//!
//! In its asynchronous mode (Linux 6.7) a protected page is made writable again by the kernel at the
//! first write, and `PAGEMAP_SCAN` tells which pages are not protected any more. Registered are private
//! mappings without a file: what the kernel notes of those is complete. Whatever is not noted counts as
//! written: memory that was mapped, moved or inherited since, or is of a program that was executed since,
//! has no registration; files and huge pages of hugetlbfs keep markers where pages were dropped, which
//! look like pages, and are not registered.
//!
//! A process has the descriptor for a moment only. It lives in our hands, and with the last copy of it
//! everything that was registered and protected goes.

use std::{
    ops::Range,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::OFlags;
use stasis_proctext::maps::Mapping;
use stasis_sys::{
    Errno,
    pagemap::{self, Filter},
    userfaultfd,
};
use stasis_tracee::{Batch, Patient, ProcDir};

use crate::{
    error::{Error, Result},
    pages::Area,
};

const USERFAULTFD: i64 = 323;
const CLOSE: i64 = 3;
const O_CLOEXEC: u32 = 0o2_000_000;
/// Needs no privilege, and is no restriction here: nobody is asked to resolve faults.
const UFFD_USER_MODE_ONLY: u32 = 1;

/// Notes what one process writes to.
#[derive(Debug)]
pub struct Notebook(OwnedFd);

impl Notebook {
    /// Begins to take notes for a stopped process.
    ///
    /// # Errors
    /// [`Error::Kernel`] with `ENOSYS` or `EINVAL` if the kernel cannot (before Linux 6.7), with `EMFILE`
    /// if the process has no descriptor to spare.
    ///
    /// # Effect on the tracee
    /// It gets a foothold; two batches, between which it has a descriptor more.
    pub fn begin(patient: &mut Patient) -> Result<Notebook> {
        let what = object_of(patient.proc());
        let mut batch = Batch::new();
        let flags = O_CLOEXEC | UFFD_USER_MODE_ONLY;
        let made = batch.try_call("userfaultfd", USERFAULTFD, [flags.into()]);
        let outcome = patient.run_in_leader(&batch)?;
        let number = outcome.result(made).map_err(Error::at(&what, "userfaultfd"))?;
        let taken = patient.take_fd(i32::try_from(number).unwrap_or(-1));
        let mut batch = Batch::new();
        batch.call("close", CLOSE, [number.into()]);
        patient.run_in_leader(&batch)?.check()?;
        let fd = taken?;
        userfaultfd::only_note_writes(fd.as_fd()).map_err(Error::at(&what, "ioctl(UFFDIO_API)"))?;
        Ok(Notebook(fd))
    }

    /// One that somebody kept for us.
    pub fn kept(fd: OwnedFd) -> Notebook {
        Notebook(fd)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Begins anew: from now on notes are taken of all these areas, and what was noted is forgotten.
    ///
    /// Areas that the kernel does not take count as written for ever.
    ///
    /// # Errors
    /// [`Error::Kernel`] if pages cannot be protected.
    ///
    /// # Effect on the tracee
    /// None that it sees, but that first writes to a page take longer. It must be stopped.
    pub fn turn_page(&self, proc: &ProcDir, areas: &[Area]) -> Result<()> {
        for area in areas {
            // What the kernel does not take is not protected below.
            let _ = userfaultfd::register(self.fd(), &area.range);
        }
        let (Some(first), Some(last)) = (areas.first(), areas.last()) else { return Ok(()) };
        let pagemap = proc.open_file("pagemap", OFlags::RDONLY)?;
        let written = Filter {
            all: pagemap::WRITTEN,
            any: pagemap::PRESENT | pagemap::SWAPPED,
            ..Filter::default()
        };
        pagemap::protect(pagemap.as_fd(), first.range.start, last.range.end, written)
            .map_err(Error::at(object_of(proc), "ioctl(PAGEMAP_SCAN)"))?;
        Ok(())
    }

    /// Pages that were there when notes began and were not written to since, in address order.
    ///
    /// # Errors
    /// [`Error::Kernel`] by the kernel.
    pub fn untouched(&self, proc: &ProcDir, areas: &[Area]) -> Result<Vec<Range<u64>>> {
        let (Some(first), Some(last)) = (areas.first(), areas.last()) else {
            return Ok(Vec::new());
        };
        let pagemap = proc.open_file("pagemap", OFlags::RDONLY)?;
        let clean = Filter {
            all: pagemap::WP_ALLOWED | pagemap::WRITTEN,
            inverted: pagemap::WRITTEN,
            any: pagemap::PRESENT | pagemap::SWAPPED,
            told: 0,
        };
        let regions = pagemap::scan(pagemap.as_fd(), first.range.start, last.range.end, clean)
            .map_err(Error::at(object_of(proc), "ioctl(PAGEMAP_SCAN)"))?;
        Ok(regions.into_iter().map(|region| region.start..region.end).collect())
    }

    /// Whether it is somebody else who watches a mapping that is watched. One that is not there any more
    /// when we look is watched by nobody.
    pub fn is_of_others(&self, watched: &Range<u64>) -> bool {
        matches!(userfaultfd::register(self.fd(), watched), Err(Errno::BUSY | Errno::SRCH))
    }

    /// Whether notes can be taken of any of these areas: they are of the memory that the process has now.
    pub fn is_current(&self, areas: &[Area]) -> bool {
        areas.iter().any(|area| userfaultfd::register(self.fd(), &area.range).is_ok())
    }
}

/// Memory of which notes can be taken.
pub fn areas(maps: &[Mapping]) -> Vec<Area> {
    let anonymous = maps.iter().filter(|map| !map.shared && is_anonymous(&map.name));
    anonymous.map(|map| Area::new(map.range.clone(), map.protection)).collect()
}

/// By its name in `/proc/PID/maps`.
fn is_anonymous(name: &[u8]) -> bool {
    matches!(name, b"" | b"[heap]" | b"[stack]") || name.starts_with(b"[anon:")
}

fn object_of(proc: &ProcDir) -> String {
    format!("memory of task {}", proc.pid())
}
