//! Shared memory: anonymous (mmap(2) `MAP_SHARED`) and memfd_create(2). One segment is one inode of the
//! kernel's internal tmpfs, whose pages are stored once, whoever maps it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use stasis_model::{PAGE_SIZE, PageRun, Segment, SegmentId};

use crate::{
    content::{PageSink, write_all, write_all_at},
    error::{Error, Result},
    gathering::{Gathering, Stored},
    ghost::for_each_data,
    thawing::{Contents, Thawing},
};

/// Remembers a segment; its pages are stored later by [`store`].
///
/// `name` is the name of a memfd, `None` for plain shared memory.
pub fn freeze(file: OwnedFd, name: Option<&[u8]>, gathering: &mut Gathering) -> Result<SegmentId> {
    let stat = rustix::fs::fstat(&file).map_err(Error::at("shared memory", "fstat"))?;
    let inode = (stat.st_dev, stat.st_ino);
    if let Some(id) = gathering.segments.get(&inode) {
        return Ok(*id);
    }
    let id = gathering.new_segment_id();
    gathering.segments.insert(inode, id);
    let seals = match name {
        Some(_) => rustix::fs::fcntl_get_seals(&file).map_or(1, |seals| seals.bits()),
        None => 1,
    };
    let huge =
        u64::try_from(stat.st_blksize).ok().filter(|size| *size > PAGE_SIZE && name.is_some());
    let huge_page_shift = huge
        .filter(|_| is_hugetlb(&file))
        .and_then(|size| u8::try_from(size.trailing_zeros()).ok());
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    gathering.tree.segments.insert(
        id,
        Segment {
            size,
            memfd: name.map(<[u8]>::to_vec),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: Some(stat.st_mode),
            seals,
            huge_page_shift,
        },
    );
    gathering.stored.push(Stored::Segment { id, size, file });
    Ok(id)
}

pub(crate) fn is_hugetlb(file: &OwnedFd) -> bool {
    const HUGETLBFS_MAGIC: i64 = 0x958_458f6;
    rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == HUGETLBFS_MAGIC)
}

/// Copies the pages that exist to the sink.
pub fn store(file: BorrowedFd<'_>, size: u64, sink: &mut dyn PageSink) -> io::Result<()> {
    let size = size.next_multiple_of(PAGE_SIZE);
    let mut buffer = vec![0u8; 1 << 20];
    for_each_data(file, size, |offset, len| {
        let start = offset / PAGE_SIZE * PAGE_SIZE;
        let end = (offset + len).next_multiple_of(PAGE_SIZE);
        copy_pages(file, start, end, &mut buffer, sink)?;
        sink.record(PageRun { start, nr_pages: (end - start) / PAGE_SIZE })
    })
}

fn copy_pages(
    file: BorrowedFd<'_>,
    start: u64,
    end: u64,
    buffer: &mut [u8],
    sink: &dyn PageSink,
) -> io::Result<()> {
    let mut at = start;
    while at < end {
        sink.may_go_on()?;
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let piece = &mut buffer[..len];
        let got = rustix::io::pread(file, &mut *piece, at)?;
        // Past the end of the file, within its last page, there are zeros.
        piece[got..].fill(0);
        write_all(sink.file(), piece)?;
        at += len as u64;
    }
    Ok(())
}

/// Makes the segment as a memory file and fills it. Seals come last (see [`crate::memfd`]).
///
/// Plain shared memory becomes a memory file called `/dev/zero`, which the kernel shows almost as before.
pub fn thaw(id: SegmentId, thawing: &Thawing) -> Result<OwnedFd> {
    let segment = &thawing.tree().segments[&id];
    let what = format!("shared memory {id}");
    let name = segment.memfd.as_deref().unwrap_or(b"dev/zero");
    let mut flags = MemfdFlags::CLOEXEC;
    if segment.seals != 1 {
        flags |= MemfdFlags::ALLOW_SEALING;
    }
    if let Some(shift) = segment.huge_page_shift {
        flags |= MemfdFlags::HUGETLB;
        flags |= MemfdFlags::from_bits_retain(u32::from(shift) << 26);
    }
    let file = rustix::fs::memfd_create(name, flags).map_err(Error::at(&what, "memfd_create"))?;
    rustix::fs::ftruncate(&file, segment.size).map_err(Error::at(&what, "ftruncate"))?;
    let owner = (rustix::fs::Uid::from_raw(segment.uid), rustix::fs::Gid::from_raw(segment.gid));
    rustix::fs::fchown(&file, Some(owner.0), Some(owner.1)).map_err(Error::at(&what, "fchown"))?;
    if let Some(mode) = segment.mode {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))
            .map_err(Error::at(&what, "fchmod"))?;
    }
    fill(id, segment.size, file.as_fd(), thawing.contents())
        .map_err(|source| Error::Content { object: what, source })?;
    Ok(file)
}

/// Writes the stored pages of a segment into the file that it is, which has `size` bytes.
pub fn fill(
    id: SegmentId,
    size: u64,
    file: BorrowedFd<'_>,
    contents: &dyn Contents,
) -> io::Result<()> {
    let Some(source) = contents.segment(id)? else { return Ok(()) };
    let files = source.files();
    let mut buffer = vec![0u8; 1 << 20];
    for stored in source.runs() {
        let mut done = 0;
        while done < stored.run.len_bytes() {
            let len = usize::try_from(stored.run.len_bytes() - done).unwrap_or(usize::MAX);
            let piece = &mut buffer[..len.min(1 << 20)];
            let got = rustix::io::pread(files[stored.file], &mut *piece, stored.offset + done)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let at = stored.run.start + done;
            let inside = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX).min(got);
            write_all_at(file, &piece[..inside], at)?;
            done += got as u64;
        }
    }
    Ok(())
}

/// Puts the seals on, when all writable mappings exist.
pub fn seal(thawing: &Thawing) -> Result<()> {
    for (id, file) in thawing.segments() {
        let seals = thawing.tree().segments[&id].seals;
        if seals != 1 && seals != 0 {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::fcntl_add_seals(file.as_fd(), SealFlags::from_bits_retain(seals))
                .map_err(Error::at(path, "F_ADD_SEALS"))?;
        }
    }
    Ok(())
}
