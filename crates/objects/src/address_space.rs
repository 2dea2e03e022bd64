//! The layout of a process's memory and its mappings (proc_pid_smaps(5), mmap(2)).

use std::{
    ops::Range,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

use rustix::fs::{FileType, Mode, OFlags};
use stasis_model::{
    AddressSpace, Backing, FileId, FileKind, Layout, MapFlags, Memfd, OpenFile, Protection,
    Subject, Vma,
};
use stasis_proctext::{maps::Mapping, stat::Stat};
use stasis_tracee::{Batch, Patient, ProcDir};

use crate::{
    error::{Error, Result},
    gathering::Gathering,
    memfd, pages, path_file, protection_key, ranges, segment,
    system_v::attachment,
};

/// Advice codes of `VmFlags` and their madvise(2) numbers.
const ADVICE: [(&[u8; 2], u32); 8] = [
    (b"rr", 1),
    (b"sr", 2),
    (b"dc", 10),
    (b"mg", 12),
    (b"hg", 14),
    (b"nh", 15),
    (b"dd", 16),
    (b"wf", 18),
];

/// Answers of remote calls that the address space needs.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    pub brk: u64,
    pub dumpable: i32,
    pub thp_disabled: bool,
    pub protection_keys: u16,
}

/// What `/proc` tells of it before a foothold is made.
#[derive(Debug)]
pub struct Told {
    pub mappings: Vec<Mapping>,
    guards: Vec<std::ops::Range<u64>>,
    auxv: Vec<u64>,
}

impl Told {
    pub fn read(proc: &ProcDir) -> Result<Self> {
        let mappings = proc.smaps()?;
        let guards = pages::guards(proc, &mappings)?;
        Ok(Told { mappings, guards, auxv: read_auxv(proc)? })
    }
}

/// Freezes everything but the contents.
pub fn freeze(
    (patient, stat): (&Patient, &Stat),
    told: Told,
    answers: Answers,
    gathering: &mut Gathering,
) -> Result<AddressSpace> {
    let executable = freeze_executable(patient, gathering)?;
    let mut vmas: Vec<Vma> = Vec::with_capacity(told.mappings.len());
    for map in &told.mappings {
        let Some(vma) = freeze_mapping((patient, stat), map, answers, gathering)? else { continue };
        match vmas.last_mut() {
            // `[vvar]` and `[vvar_vclock]` are one mapping of the checkpoint.
            Some(last) if is_vvar(last) && is_vvar(&vma) && last.range.end == vma.range.start => {
                last.range.end = vma.range.end;
            }
            _ => vmas.push(vma),
        }
    }
    Ok(AddressSpace {
        layout: freeze_layout(stat, told.auxv, answers),
        executable,
        guards: told.guards,
        vmas,
        aio_rings: Vec::new(),
        dumpable: answers.dumpable,
        thp_disabled: answers.thp_disabled,
        protection_keys: answers.protection_keys,
    })
}

fn is_vvar(vma: &Vma) -> bool {
    vma.backing == Backing::Vvar
}

/// The auxiliary vector (getauxval(3)).
fn read_auxv(proc: &ProcDir) -> Result<Vec<u64>> {
    let auxv = proc.read("auxv")?;
    let word = |word: &[u8]| u64::from_ne_bytes(word.try_into().expect("eight bytes"));
    Ok(auxv.chunks_exact(8).map(word).collect())
}

fn freeze_layout(stat: &Stat, auxv: Vec<u64>, answers: Answers) -> Layout {
    Layout {
        code: stat.start_code..stat.end_code,
        data: stat.start_data..stat.end_data,
        stack_start: stat.start_stack,
        brk_start: stat.start_brk,
        brk: answers.brk,
        arguments: stat.arguments.0..stat.arguments.1,
        environment: stat.environment.0..stat.environment.1,
        auxv,
    }
}

fn freeze_executable(patient: &Patient, gathering: &mut Gathering) -> Result<FileId> {
    let link = patient.proc().read_link("exe")?;
    let file = patient.proc().open_file("exe", OFlags::RDONLY)?;
    freeze_file_behind(&file, &link, 0, gathering)
}

/// The open file of a mapping, executable or directory: shared by all that are alike.
pub fn freeze_file_behind(
    file: &OwnedFd,
    link: &std::path::Path,
    open_mode: u32,
    gathering: &mut Gathering,
) -> Result<FileId> {
    let what = link.display().to_string();
    let stat = rustix::fs::fstat(file).map_err(Error::at(&what, "fstat"))?;
    let (path, deleted) = path_file::name_of(link, &stat, gathering)?;
    let key = (stat.st_dev, stat.st_ino, path.clone(), open_mode);
    if let Some(id) = gathering.mapped.get(&key) {
        return Ok(*id);
    }
    let mut frozen = path_file::describe(path, &stat, 0);
    if deleted {
        frozen.remap = Some(path_file::remap(file, &stat, &frozen.path, gathering)?);
    }
    let id = gathering.add_file(OpenFile { flags: 0, owner: None, kind: FileKind::Path(frozen) });
    gathering.mapped.insert(key, id);
    Ok(id)
}

fn freeze_mapping(
    (patient, stat): (&Patient, &Stat),
    map: &Mapping,
    answers: Answers,
    gathering: &mut Gathering,
) -> Result<Option<Vma>> {
    if let Some(reason) = obstacle_of(map) {
        gathering.obstacle(subject_of(patient.pid(), &stat.name, map), reason, None);
        return Ok(None);
    }
    if let Some(reason) = loss_of(map) {
        gathering.loss(subject_of(patient.pid(), &stat.name, map), reason);
    }
    let backing = match attachment::is_attachment(map) {
        true => freeze_attachment(patient, &stat.name, map, gathering)?,
        false => Some(freeze_backing(patient, map, gathering)?),
    };
    let Some(backing) = backing else { return Ok(None) };
    Ok(Some(Vma {
        range: map.range.clone(),
        protection: Protection(map.protection),
        flags: MapFlags {
            grows_down: map.has_flag(b"gd"),
            locked: map.has_flag(b"lo"),
            locked_on_fault: map.has_flag(b"lf"),
            no_reserve: map.has_flag(b"nr"),
            huge_page_shift: map
                .has_flag(b"ht")
                .then(|| map.page_size.unwrap_or(2 << 20).trailing_zeros() as u8),
        },
        advice: ADVICE
            .iter()
            .filter(|(code, _)| map.has_flag(code) && !is_special(&map.name))
            .fold(0, |bits, (_, number)| bits | 1 << number),
        backing,
        name: given_name(&map.name).map(<[u8]>::to_vec),
        // Of keys that are not allocated, one is the kernel's for what can only be executed.
        protection_key: match answers.protection_keys.checked_shr(map.protection_key.into()) {
            Some(bits) if bits & 1 != 0 => map.protection_key,
            _ => 0,
        },
    }))
}

/// The name that a program gave to memory without a file.
fn given_name(name: &[u8]) -> Option<&[u8]> {
    let name = name.strip_prefix(b"[anon:").or_else(|| name.strip_prefix(b"[anon_shmem:"))?;
    name.strip_suffix(b"]")
}

fn is_special(name: &[u8]) -> bool {
    matches!(name, b"[vdso]" | b"[vvar]" | b"[vvar_vclock]" | b"[vsyscall]")
}

/// Whether somebody watches a mapping by userfaultfd(2).
pub fn is_watched(map: &Mapping) -> bool {
    map.has_flag(b"um") || map.has_flag(b"uw")
}

/// Why a mapping cannot be kept, from its text alone.
pub fn obstacle_of(map: &Mapping) -> Option<String> {
    let watched = is_watched(map) && !is_special(&map.name);
    let by_others = || "memory watched by userfaultfd(2)".into();
    watched.then(by_others).or_else(|| obstacle_but_for_watching(map))
}

/// The same for a mapping that is watched by ourselves, if by anybody.
pub fn obstacle_but_for_watching(map: &Mapping) -> Option<String> {
    if is_special(&map.name) {
        return None;
    }
    let name = String::from_utf8_lossy(&map.name);
    if map.has_flag(b"ss") {
        return Some("a shadow stack".into());
    }
    if name.starts_with("anon_inode:") || name.starts_with("/anon_inode:") {
        return Some(format!("memory of {}, which cannot be kept", name.trim_start_matches('/')));
    }
    if map.name.starts_with(b"/[aio]") {
        return Some("the ring of an asynchronous-I/O context (io_setup(2))".into());
    }
    if map.name == b"/secretmem (deleted)" {
        return Some("secret memory (memfd_secret(2))".into());
    }
    if map.name.starts_with(b"socket:") {
        return Some("the ring of a packet socket".into());
    }
    if map.name == b"[uprobes]" || map.name == b"[gate]" {
        return Some("a mapping of the kernel's own".into());
    }
    let device_memory = map.has_flag(b"pf") || map.has_flag(b"io");
    device_memory.then(|| "memory of a device".into())
}

/// Whether the name alone leaves open if it is memory of a device.
pub fn may_be_of_device(map: &Mapping) -> bool {
    let of_files = map.name.starts_with(b"/dev/shm/") || map.name.starts_with(b"/dev/zero");
    map.name.starts_with(b"/dev/") && !of_files
}

/// What of a mapping is not kept, from its text alone.
pub fn loss_of(map: &Mapping) -> Option<&'static str> {
    if map.has_flag(b"dp") {
        return Some("the content of droppable memory");
    }
    (map.has_flag(b"sl") && !is_special(&map.name))
        .then_some("it is sealed against changes (mseal(2)), which a restore does not repeat")
}

/// The mapping in the user's words.
pub fn subject_of(pid: i32, name: &[u8], map: &Mapping) -> Subject {
    Subject::Mapping {
        pid,
        name: String::from_utf8_lossy(name).into_owned(),
        start: map.range.start,
        end: map.range.end,
        target: String::from_utf8_lossy(&map.name).into_owned(),
    }
}

fn freeze_backing(patient: &Patient, map: &Mapping, gathering: &mut Gathering) -> Result<Backing> {
    match map.name.as_slice() {
        b"[vdso]" => return Ok(Backing::Vdso),
        b"[vvar]" | b"[vvar_vclock]" => return Ok(Backing::Vvar),
        b"[vsyscall]" => return Ok(Backing::Vsyscall),
        b"[heap]" if !map.shared => return Ok(Backing::Heap),
        name if !map.shared && (name.is_empty() || name[0] == b'[') => {
            return Ok(if map.has_flag(b"dp") {
                Backing::Droppable
            } else {
                Backing::AnonymousPrivate
            });
        }
        _ => {}
    }
    // Processes of a tree mostly map the same programs and libraries: each is looked at once.
    let key = (map.device, map.inode, map.name.clone());
    if !map.shared
        && let Some(known) = gathering.mapped_privately.get(&key)
    {
        let (open_mode, offset) = (open_mode(patient, map)?, map.offset);
        if let Some(&file) = known.get(&open_mode) {
            return Ok(Backing::FilePrivate { file, offset, open_mode });
        }
    }
    let (file, link, open_mode) = open_mapped(patient, map)?;
    if map.shared && (map.name == b"/dev/zero" || map.name.starts_with(b"[anon_shmem")) {
        let segment = segment::freeze(file, None, gathering)?;
        return Ok(Backing::SegmentShared { segment, offset: map.offset });
    }
    if map.name == b"/dev/zero" && !map.shared {
        return Ok(Backing::AnonymousPrivate);
    }
    let offset = map.offset;
    if let Some(name) = memfd::name_in_link(&map.name) {
        let file = freeze_mapped_memfd(file, name, open_mode, gathering)?;
        return Ok(if map.shared {
            Backing::MemfdShared { file, offset, open_mode }
        } else {
            Backing::MemfdPrivate { file, offset, open_mode }
        });
    }
    let stat = rustix::fs::fstat(&file).map_err(Error::at(link.display().to_string(), "fstat"))?;
    let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_regular {
        let subject = subject_of(patient.pid(), b"", map);
        gathering.obstacle(subject, "a mapping of a device", None);
    }
    let file = freeze_file_behind(&file, &link, open_mode, gathering)?;
    Ok(if map.shared {
        Backing::FileShared { file, offset, open_mode }
    } else {
        if is_regular {
            gathering.mapped_privately.entry(key).or_default().insert(open_mode, file);
        }
        Backing::FilePrivate { file, offset, open_mode }
    })
}

/// System V memory, or a deleted file that is called as if it were.
fn freeze_attachment(
    patient: &Patient,
    name: &[u8],
    map: &Mapping,
    gathering: &mut Gathering,
) -> Result<Option<Backing>> {
    let (file, link, open_mode) = open_mapped(patient, map)?;
    let stat = rustix::fs::fstat(&file).map_err(Error::at(link.display().to_string(), "fstat"))?;
    let subject = subject_of(patient.pid(), name, map);
    Ok(attachment::freeze(map, (&stat, open_mode), subject, gathering))
}

/// The mapped file, opened for reading, its link, and the mode it was opened with (0 or 2).
fn open_mapped(patient: &Patient, map: &Mapping) -> Result<(OwnedFd, PathBuf, u32)> {
    let entry = entry_of(map);
    let link = patient.proc().read_link(&entry)?;
    let file = patient.proc().open_file(&entry, OFlags::RDONLY)?;
    Ok((file, link, open_mode(patient, map)?))
}

/// The mode that a mapped file was opened with (0 or 2).
fn open_mode(patient: &Patient, map: &Mapping) -> Result<u32> {
    let entry = entry_of(map);
    let mode =
        rustix::fs::statat(patient.proc().as_fd(), &entry, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::at(String::from_utf8_lossy(&map.name), "lstat"))?
            .st_mode;
    let writable = Mode::from_raw_mode(mode).contains(Mode::WUSR);
    Ok(if writable { 2 } else { 0 })
}

/// The link to the mapped file.
fn entry_of(map: &Mapping) -> String {
    format!("map_files/{:x}-{:x}", map.range.start, map.range.end)
}

fn freeze_mapped_memfd(
    file: OwnedFd,
    name: &[u8],
    open_mode: u32,
    gathering: &mut Gathering,
) -> Result<FileId> {
    let stat = rustix::fs::fstat(&file).map_err(Error::at("memfd", "fstat"))?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(name));
    let key = (stat.st_dev, stat.st_ino, path, open_mode);
    if let Some(id) = gathering.mapped.get(&key) {
        return Ok(*id);
    }
    let segment = segment::freeze(file, Some(name), gathering)?;
    let kind = FileKind::Memfd(Memfd { segment, position: 0 });
    let id = gathering.add_file(OpenFile { flags: open_mode, owner: None, kind });
    gathering.mapped.insert(key, id);
    Ok(id)
}

const MMAP: i64 = 9;
const MPROTECT: i64 = 10;
const MUNMAP: i64 = 11;
const MREMAP: i64 = 25;
const MADVISE: i64 = 28;
const MLOCK2: i64 = 325;
const PRCTL: i64 = 157;
const PR_SET_VMA: u64 = 0x5356_4d41;
const PR_SET_VMA_ANON_NAME: u64 = 0;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_DROPPABLE: u64 = 8;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_HUGETLB: u64 = 0x4_0000;
const MREMAP_MAYMOVE_FIXED: u64 = 3;

/// Clears a blank's memory of everything but our foothold and what it keeps, and moves the vDSO to where
/// it was.
///
/// `present` is what the blank has mapped, `keep` what stays, in ascending order. The vDSO and its data are special mappings that can only be
/// moved.
///
/// # Errors
/// [`Error::Unsupported`] if the checkpoint's vDSO has another size than this kernel's.
pub fn clear(
    memory: &AddressSpace,
    present: &[Mapping],
    keep: &[Range<u64>],
    batch: &mut Batch,
) -> Result<()> {
    let special: Vec<&Mapping> = present.iter().filter(|map| is_special(&map.name)).collect();
    for map in present.iter().filter(|map| !is_special(&map.name)) {
        for range in ranges::outside(&map.range, ranges::from(keep, &map.range)) {
            let len = range.end - range.start;
            batch.call("munmap", MUNMAP, [range.start.into(), len.into()]);
        }
    }
    move_vdso(memory, &special, keep, batch)
}

fn move_vdso(
    memory: &AddressSpace,
    special: &[&Mapping],
    keep: &[Range<u64>],
    batch: &mut Batch,
) -> Result<()> {
    let movable: Vec<&&Mapping> = special.iter().filter(|map| map.name != b"[vsyscall]").collect();
    let (Some(first), Some(last)) = (movable.first(), movable.last()) else { return Ok(()) };
    let block = first.range.start..last.range.end;
    let wanted = vdso_block(memory);
    let Some(wanted) = wanted else {
        let len = block.end - block.start;
        batch.call("munmap", MUNMAP, [block.start.into(), len.into()]);
        return Ok(());
    };
    if wanted.end - wanted.start != block.end - block.start {
        return Err(Error::Unsupported {
            object: "vDSO".into(),
            reason: format!(
                "it was {} bytes long and is {} on this kernel; the checkpoint was made on another one",
                wanted.end - wanted.start,
                block.end - block.start
            ),
        });
    }
    if wanted == block {
        return Ok(());
    }
    let mut from = block.clone();
    if wanted.start < block.end && block.start < wanted.end {
        // A mapping cannot be moved onto itself: it makes a detour.
        let taken = keep.iter().cloned().chain([block.clone(), wanted.clone()]);
        let detour = stasis_tracee::find_gap(taken, block.end - block.start).ok_or_else(|| {
            Error::Unsupported {
                object: "vDSO".into(),
                reason: "there is no room to move it".into(),
            }
        })?;
        shift(&movable, &from, detour, batch);
        from = detour..detour + (block.end - block.start);
    }
    shift_from(&movable, &block, &from, wanted.start, batch);
    Ok(())
}

fn shift(maps: &[&&Mapping], block: &Range<u64>, to: u64, batch: &mut Batch) {
    shift_from(maps, block, block, to, batch);
}

/// Moves the pieces of `block`, which lie at `from` by now, to `to`.
fn shift_from(
    maps: &[&&Mapping],
    block: &Range<u64>,
    from: &Range<u64>,
    to: u64,
    batch: &mut Batch,
) {
    for map in maps {
        let offset = map.range.start - block.start;
        let len = map.range.end - map.range.start;
        let (source, target) = (from.start + offset, to + offset);
        let flags = MREMAP_MAYMOVE_FIXED;
        let arguments = [source.into(), len.into(), len.into(), flags.into(), target.into()];
        batch.call("mremap", MREMAP, arguments);
    }
}

/// Where data and code of the vDSO lay together.
fn vdso_block(memory: &AddressSpace) -> Option<Range<u64>> {
    let vdso = memory.vmas.iter().find(|vma| vma.backing == Backing::Vdso)?;
    let vvar = memory.vmas.iter().find(|vma| vma.backing == Backing::Vvar);
    let start = vvar.map_or(vdso.range.start, |vvar| vvar.range.start.min(vdso.range.start));
    Some(start..vdso.range.end)
}

/// Adds the call that makes one mapping; `fd` is the number of its file in the blank.
///
/// It is writable until [`finish`], so that contents can be read into it.
pub fn thaw(vma: &Vma, fd: Option<i32>, has_content: bool, batch: &mut Batch) {
    let mut flags = MAP_FIXED;
    let mut offset = 0;
    match &vma.backing {
        Backing::AnonymousPrivate | Backing::Heap => flags |= MAP_PRIVATE | MAP_ANONYMOUS,
        Backing::Droppable => flags |= MAP_DROPPABLE | MAP_ANONYMOUS,
        Backing::FilePrivate { offset: at, .. } | Backing::MemfdPrivate { offset: at, .. } => {
            flags |= MAP_PRIVATE;
            offset = *at;
        }
        Backing::FileShared { offset: at, .. }
        | Backing::MemfdShared { offset: at, .. }
        | Backing::SegmentShared { offset: at, .. } => {
            flags |= MAP_SHARED;
            offset = *at;
        }
        // Attached by calls of its own.
        Backing::SystemV { .. } => return,
        Backing::Vdso | Backing::Vvar | Backing::Vsyscall | Backing::AioRing => return,
    }
    if vma.flags.grows_down {
        flags |= MAP_GROWSDOWN;
    }
    if vma.flags.no_reserve {
        flags |= MAP_NORESERVE;
    }
    if let (Some(shift), Backing::AnonymousPrivate) = (vma.flags.huge_page_shift, &vma.backing) {
        flags |= MAP_HUGETLB | u64::from(shift) << 26;
    }
    let fd = fd.unwrap_or(-1);
    let arguments = [
        vma.range.start.into(),
        vma.len_bytes().into(),
        first_protection(vma, has_content).0.into(),
        flags.into(),
        fd.into(),
        offset.into(),
    ];
    batch.call("mmap", MMAP, arguments);
}

/// The protection that a mapping has until [`finish`].
pub fn first_protection(vma: &Vma, has_content: bool) -> Protection {
    if let Backing::SystemV { open_mode, .. } = vma.backing {
        return Protection(attachment::first_protection(open_mode));
    }
    let write = if has_content { Protection::WRITE } else { 0 };
    // For what can only be executed the kernel takes a protection key, which may be one of the process's.
    let read = if vma.protection.0 == Protection::EXEC { Protection::READ } else { 0 };
    Protection(vma.protection.0 | write | read)
}

/// Adds the calls that give a mapping its protection, advice and lock, when its content is there.
///
/// `now` is the protection that it has.
pub fn finish(vma: &Vma, now: Protection, batch: &mut Batch) {
    if is_special_backing(&vma.backing) {
        return;
    }
    let (start, len) = (vma.range.start, vma.len_bytes());
    if vma.protection_key != 0 {
        protection_key::protect(&vma.range, vma.protection.0, vma.protection_key, batch);
    } else if now != vma.protection {
        batch.call("mprotect", MPROTECT, [start.into(), len.into(), vma.protection.0.into()]);
    }
    for number in 0..64u32 {
        let droppable = vma.backing == Backing::Droppable;
        if vma.advice & 1 << number != 0 && !droppable {
            batch.call("madvise", MADVISE, [start.into(), len.into(), number.into()]);
        }
    }
    if let Some(name) = &vma.name {
        let name = batch.text(name);
        let kind = PR_SET_VMA_ANON_NAME;
        let arguments = [PR_SET_VMA.into(), kind.into(), start.into(), len.into(), name.into()];
        // A kernel without such names does without.
        batch.try_call("prctl(PR_SET_VMA)", PRCTL, arguments);
    }
    if vma.flags.locked {
        let on_fault = u32::from(vma.flags.locked_on_fault);
        batch.call("mlock2", MLOCK2, [start.into(), len.into(), on_fault.into()]);
    }
}

/// Adds the calls that make pages fault again, when all mappings are finished.
pub fn thaw_guards(memory: &AddressSpace, batch: &mut Batch) {
    const MADV_GUARD_INSTALL: u32 = 102;
    for guard in &memory.guards {
        let len = guard.end - guard.start;
        let arguments = [guard.start.into(), len.into(), MADV_GUARD_INSTALL.into()];
        batch.call("madvise(MADV_GUARD_INSTALL)", MADVISE, arguments);
    }
}

fn is_special_backing(backing: &Backing) -> bool {
    matches!(backing, Backing::Vdso | Backing::Vvar | Backing::Vsyscall | Backing::AioRing)
}

/// The file that a mapping needs, and how it is to be opened.
pub fn file_of(vma: &Vma) -> Option<MappedFile> {
    match vma.backing {
        Backing::FilePrivate { file, open_mode, .. }
        | Backing::FileShared { file, open_mode, .. }
        | Backing::MemfdPrivate { file, open_mode, .. }
        | Backing::MemfdShared { file, open_mode, .. } => Some(MappedFile::Open(file, open_mode)),
        Backing::SegmentShared { segment, .. } => Some(MappedFile::Segment(segment)),
        Backing::AnonymousPrivate
        | Backing::Heap
        | Backing::Droppable
        | Backing::SystemV { .. }
        | Backing::Vdso
        | Backing::Vvar
        | Backing::Vsyscall
        | Backing::AioRing => None,
    }
}

/// What a mapping is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MappedFile {
    Open(FileId, u32),
    Segment(stasis_model::SegmentId),
}
