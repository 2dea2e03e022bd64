//! The layout and the mappings of a process.

use std::{collections::BTreeMap, ops::Range};

use stasis_model::{
    AddressSpace, AioRing, Backing, FileId, Layout, MapFlags, NsPid, Protection, Segment,
    SegmentId, Vma,
};

use crate::{
    Error, Result,
    error::Place,
    wire::mm::{AioRingEntry, MmEntry, VmaEntry},
};

/// Bits of `vma_entry.status`.
mod status {
    pub const REGULAR: u32 = 0x1;
    pub const VSYSCALL: u32 = 0x4;
    pub const VDSO: u32 = 0x8;
    pub const HEAP: u32 = 0x20;
    pub const FILE_PRIVATE: u32 = 0x40;
    pub const FILE_SHARED: u32 = 0x80;
    pub const ANON_SHARED: u32 = 0x100;
    pub const ANON_PRIVATE: u32 = 0x200;
    pub const SYSVIPC: u32 = 0x400;
    pub const SOCKET: u32 = 0x800;
    pub const VVAR: u32 = 0x1000;
    pub const AIORING: u32 = 0x2000;
    pub const MEMFD: u32 = 0x4000;
    pub const SHADOW_STACK: u32 = 0x8000;
    pub const GUARD: u32 = 0x1_0000;
    pub const UPROBES: u32 = 0x2_0000;
}

/// `MAP_*` of mmap(2).
mod map {
    pub const SHARED: u32 = 0x1;
    pub const PRIVATE: u32 = 0x2;
    pub const DROPPABLE: u32 = 0x8;
    pub const TYPE: u32 = 0xf;
    pub const ANONYMOUS: u32 = 0x20;
    pub const GROWSDOWN: u32 = 0x100;
    pub const LOCKED: u32 = 0x2000;
    pub const NORESERVE: u32 = 0x4000;
    pub const HUGETLB: u32 = 0x4_0000;
    pub const HUGE_SHIFT: u32 = 26;
}

/// Words of the auxiliary vector that CRIU takes.
const AUXV_WORDS: usize = 44;

const READ_ONLY: u32 = 0;
const READ_WRITE: u32 = 2;

/// Which open files stand for shared memory.
#[derive(Default)]
pub(super) struct SharedFiles {
    /// The segment behind each open memfd.
    pub segments_by_file: BTreeMap<FileId, SegmentId>,
    pub segments: BTreeMap<SegmentId, Segment>,
}

impl SharedFiles {
    /// The segment behind the file, if it is plain shared anonymous memory.
    fn anonymous(&self, file: FileId) -> Option<SegmentId> {
        let id = self.segments_by_file.get(&file)?;
        self.segments.get(id).is_some_and(|segment| segment.memfd.is_none()).then_some(*id)
    }
}

/// Encodes an address space; `segment_files` are the open files made up for plain shared memory.
pub(super) fn encode(
    memory: &AddressSpace,
    segment_files: &BTreeMap<SegmentId, FileId>,
) -> MmEntry {
    let layout = &memory.layout;
    let (auxv, rest) = layout.auxv.split_at(layout.auxv.len().min(AUXV_WORDS));
    let vmas = memory.vmas.iter().map(|vma| encode_vma(vma, segment_files));
    MmEntry {
        mm_start_code: layout.code.start,
        mm_end_code: layout.code.end,
        mm_start_data: layout.data.start,
        mm_end_data: layout.data.end,
        mm_start_stack: layout.stack_start,
        mm_start_brk: layout.brk_start,
        mm_brk: layout.brk,
        mm_arg_start: layout.arguments.start,
        mm_arg_end: layout.arguments.end,
        mm_env_start: layout.environment.start,
        mm_env_end: layout.environment.end,
        exe_file_id: memory.executable.0,
        mm_saved_auxv: auxv.to_vec(),
        vmas: vmas.chain(memory.guards.iter().map(encode_guard)).collect(),
        dumpable: Some(memory.dumpable),
        aios: memory.aio_rings.iter().map(encode_ring).collect(),
        thp_disabled: Some(memory.thp_disabled),
        auxv_rest: rest.to_vec(),
        protection_keys: (memory.protection_keys != 0).then_some(memory.protection_keys.into()),
    }
}

pub(super) fn decode(
    place: Place,
    pid: NsPid,
    mm: &MmEntry,
    shared: &SharedFiles,
) -> Result<AddressSpace> {
    let (guards, vmas): (Vec<_>, Vec<_>) =
        mm.vmas.iter().partition(|vma| vma.status & status::GUARD != 0);
    let vmas = vmas.into_iter().map(|vma| decode_vma(place, pid, vma, shared));
    Ok(AddressSpace {
        layout: Layout {
            code: mm.mm_start_code..mm.mm_end_code,
            data: mm.mm_start_data..mm.mm_end_data,
            stack_start: mm.mm_start_stack,
            brk_start: mm.mm_start_brk,
            brk: mm.mm_brk,
            arguments: mm.mm_arg_start..mm.mm_arg_end,
            environment: mm.mm_env_start..mm.mm_env_end,
            auxv: [mm.mm_saved_auxv.as_slice(), &mm.auxv_rest].concat(),
        },
        executable: FileId(mm.exe_file_id),
        vmas: vmas.collect::<Result<_>>()?,
        guards: guards.into_iter().map(|guard| guard.start..guard.end).collect(),
        aio_rings: mm.aios.iter().map(decode_ring).collect(),
        dumpable: mm.dumpable.unwrap_or(1),
        thp_disabled: mm.thp_disabled.unwrap_or(false),
        protection_keys: u16::try_from(mm.protection_keys.unwrap_or(0))
            .map_err(|_| place.field("protection_keys", "has more than 16 bits"))?,
    })
}

/// Segments that are mapped directly by their number, with the least size that fits the mappings.
pub(super) fn direct_segments(mms: &[&MmEntry]) -> BTreeMap<SegmentId, Segment> {
    let mut segments = BTreeMap::new();
    let vmas = mms.iter().flat_map(|mm| &mm.vmas);
    let is_direct = |vma: &&VmaEntry| {
        vma.status & status::ANON_SHARED != 0 && vma.status & status::SYSVIPC == 0
    };
    for vma in vmas.filter(is_direct) {
        let end = vma.end.saturating_sub(vma.start).saturating_add(vma.pgoff);
        let segment = segments.entry(SegmentId(vma.shmid)).or_insert(Segment {
            size: 0,
            memfd: None,
            uid: 0,
            gid: 0,
            mode: None,
            seals: 0,
            huge_page_shift: decode_flags(vma.flags).huge_page_shift,
        });
        segment.size = segment.size.max(end);
    }
    segments
}

fn encode_ring(ring: &AioRing) -> AioRingEntry {
    AioRingEntry { id: ring.address, nr_req: ring.nr_requests, ring_len: ring.len_bytes }
}

fn decode_ring(entry: &AioRingEntry) -> AioRing {
    AioRing { address: entry.id, nr_requests: entry.nr_req, len_bytes: entry.ring_len }
}

fn encode_guard(guard: &Range<u64>) -> VmaEntry {
    VmaEntry {
        start: guard.start,
        end: guard.end,
        status: status::GUARD,
        fd: -1,
        ..Default::default()
    }
}

/// How a backing is written: status, type of the mapping, file or segment, offset, open mode.
struct Kind {
    status: u32,
    map: u32,
    shmid: u64,
    pgoff: u64,
    open_mode: Option<u32>,
}

impl Kind {
    fn anonymous(status: u32) -> Self {
        Kind { status, map: map::PRIVATE | map::ANONYMOUS, shmid: 0, pgoff: 0, open_mode: None }
    }

    fn file(status: u32, map: u32, file: FileId, pgoff: u64, open_mode: u32) -> Self {
        let status = status | status::REGULAR;
        Kind { status, map, shmid: file.0.into(), pgoff, open_mode: Some(open_mode) }
    }
}

fn encode_backing(vma: &Vma, segment_files: &BTreeMap<SegmentId, FileId>) -> Kind {
    use status::{ANON_PRIVATE, FILE_PRIVATE, FILE_SHARED, MEMFD, REGULAR};
    match vma.backing {
        Backing::AnonymousPrivate => Kind::anonymous(REGULAR | ANON_PRIVATE),
        Backing::Heap => Kind::anonymous(REGULAR | ANON_PRIVATE | status::HEAP),
        Backing::Droppable => {
            Kind { map: map::DROPPABLE | map::ANONYMOUS, ..Kind::anonymous(REGULAR | ANON_PRIVATE) }
        }
        Backing::FilePrivate { file, offset, open_mode } => {
            Kind::file(FILE_PRIVATE, map::PRIVATE, file, offset, open_mode)
        }
        Backing::FileShared { file, offset, open_mode } => {
            Kind::file(FILE_SHARED, map::SHARED, file, offset, open_mode)
        }
        Backing::MemfdPrivate { file, offset, open_mode } => {
            Kind::file(FILE_PRIVATE | MEMFD, map::PRIVATE, file, offset, open_mode)
        }
        Backing::MemfdShared { file, offset, open_mode } => {
            Kind::file(FILE_SHARED | MEMFD, map::SHARED, file, offset, open_mode)
        }
        Backing::SegmentShared { segment, offset } => {
            let file = segment_files[&segment];
            Kind::file(FILE_SHARED | MEMFD, map::SHARED, file, offset, READ_WRITE)
        }
        Backing::SystemV { segment, offset, open_mode } => Kind {
            status: REGULAR | status::ANON_SHARED | status::SYSVIPC,
            map: map::SHARED | map::ANONYMOUS,
            shmid: segment.0,
            pgoff: offset,
            open_mode: Some(open_mode),
        },
        Backing::Vdso => Kind::anonymous(REGULAR | ANON_PRIVATE | status::VDSO),
        Backing::Vvar => Kind::anonymous(REGULAR | ANON_PRIVATE | status::VVAR),
        Backing::Vsyscall => Kind::anonymous(ANON_PRIVATE | status::VSYSCALL),
        Backing::AioRing => Kind { map: map::SHARED, ..Kind::anonymous(status::AIORING) },
    }
}

fn encode_vma(vma: &Vma, segment_files: &BTreeMap<SegmentId, FileId>) -> VmaEntry {
    let kind = encode_backing(vma, segment_files);
    VmaEntry {
        start: vma.range.start,
        end: vma.range.end,
        pgoff: kind.pgoff,
        shmid: kind.shmid,
        prot: vma.protection.0,
        flags: kind.map | encode_flags(vma.flags),
        status: kind.status,
        fd: -1,
        madv: (vma.advice != 0).then_some(vma.advice),
        fdflags: kind.open_mode,
        locked_on_fault: vma.flags.locked_on_fault.then_some(true),
        name: vma.name.clone(),
        protection_key: (vma.protection_key != 0).then_some(vma.protection_key.into()),
    }
}

fn encode_flags(flags: MapFlags) -> u32 {
    let bit = |set, bit| if set { bit } else { 0 };
    let huge = |shift: u8| map::HUGETLB | u32::from(shift) << map::HUGE_SHIFT;
    bit(flags.grows_down, map::GROWSDOWN)
        | bit(flags.locked, map::LOCKED)
        | bit(flags.no_reserve, map::NORESERVE)
        | flags.huge_page_shift.map_or(0, huge)
}

fn decode_flags(flags: u32) -> MapFlags {
    let huge = flags & map::HUGETLB != 0;
    MapFlags {
        grows_down: flags & map::GROWSDOWN != 0,
        locked: flags & map::LOCKED != 0,
        locked_on_fault: false,
        no_reserve: flags & map::NORESERVE != 0,
        huge_page_shift: huge.then_some((flags >> map::HUGE_SHIFT) as u8),
    }
}

fn decode_vma(place: Place, pid: NsPid, vma: &VmaEntry, shared: &SharedFiles) -> Result<Vma> {
    Ok(Vma {
        range: vma.start..vma.end,
        protection: Protection(vma.prot),
        flags: MapFlags {
            locked_on_fault: vma.locked_on_fault == Some(true),
            ..decode_flags(vma.flags)
        },
        backing: decode_backing(place, pid, vma, shared)?,
        advice: vma.madv.unwrap_or(0),
        name: decode_name(place, vma)?,
        protection_key: u8::try_from(vma.protection_key.unwrap_or(0))
            .ok()
            .filter(|key| *key < 16)
            .ok_or_else(|| place.field("protection_key", "is not below 16"))?,
    })
}

/// As the kernel takes them: at most 79 bytes, printable.
fn decode_name(place: Place, vma: &VmaEntry) -> Result<Option<Vec<u8>>> {
    const LONGEST: usize = 79;
    let Some(name) = &vma.name else { return Ok(None) };
    let is_printable = name.iter().all(|byte| (b' '..=b'~').contains(byte));
    if name.len() > LONGEST || !is_printable {
        return Err(place.field("name", "is no name of a mapping"));
    }
    Ok(Some(name.clone()))
}

fn decode_backing(
    place: Place,
    pid: NsPid,
    vma: &VmaEntry,
    shared: &SharedFiles,
) -> Result<Backing> {
    refuse_special(pid, vma)?;
    let is = |bit| vma.status & bit != 0;
    if is(status::AIORING) {
        Ok(Backing::AioRing)
    } else if is(status::VSYSCALL) {
        Ok(Backing::Vsyscall)
    } else if is(status::VDSO) {
        Ok(Backing::Vdso)
    } else if is(status::VVAR) {
        Ok(Backing::Vvar)
    } else if is(status::FILE_PRIVATE | status::FILE_SHARED) {
        decode_file(place, vma, shared)
    } else if is(status::SYSVIPC) {
        Ok(decode_system_v(vma))
    } else if is(status::ANON_SHARED) {
        Ok(Backing::SegmentShared { segment: SegmentId(vma.shmid), offset: vma.pgoff })
    } else if is(status::ANON_PRIVATE) {
        Ok(decode_anonymous(vma))
    } else {
        Err(place.field("status", format!("{:#x} is no kind of mapping", vma.status)))
    }
}

fn refuse_special(pid: NsPid, vma: &VmaEntry) -> Result<()> {
    let kinds = [
        (status::SOCKET, "the ring of a packet socket cannot be restored"),
        (status::SHADOW_STACK, "a shadow stack cannot be restored"),
        (status::UPROBES, "probes of user space cannot be restored"),
    ];
    match kinds.iter().find(|(bit, _)| vma.status & bit != 0) {
        None => Ok(()),
        Some((_, reason)) => {
            let object = format!("mapping {:x}-{:x} of process {pid}", vma.start, vma.end);
            Err(Error::unsupported(object, *reason))
        }
    }
}

fn decode_system_v(vma: &VmaEntry) -> Backing {
    let open_mode = vma.fdflags.unwrap_or_else(|| derived_open_mode(vma, false));
    Backing::SystemV { segment: SegmentId(vma.shmid), offset: vma.pgoff, open_mode }
}

fn decode_anonymous(vma: &VmaEntry) -> Backing {
    if vma.flags & map::TYPE == map::DROPPABLE {
        Backing::Droppable
    } else if vma.status & status::HEAP != 0 {
        Backing::Heap
    } else {
        Backing::AnonymousPrivate
    }
}

fn decode_file(place: Place, vma: &VmaEntry, shared: &SharedFiles) -> Result<Backing> {
    let id = u32::try_from(vma.shmid);
    let file = FileId(id.map_err(|_| place.field("shmid", format!("{} is no file", vma.shmid)))?);
    let is_private = vma.status & status::FILE_PRIVATE != 0;
    let open_mode = vma.fdflags.unwrap_or_else(|| derived_open_mode(vma, is_private));
    let offset = vma.pgoff;
    Ok(match (vma.status & status::MEMFD != 0, is_private) {
        (false, true) => Backing::FilePrivate { file, offset, open_mode },
        (false, false) => Backing::FileShared { file, offset, open_mode },
        (true, true) => Backing::MemfdPrivate { file, offset, open_mode },
        (true, false) => match shared.anonymous(file) {
            Some(segment) => Backing::SegmentShared { segment, offset },
            None => Backing::MemfdShared { file, offset, open_mode },
        },
    })
}

fn derived_open_mode(vma: &VmaEntry, is_private: bool) -> u32 {
    let writes = vma.prot & Protection::WRITE != 0;
    if writes && !is_private { READ_WRITE } else { READ_ONLY }
}
