//! Shared memory: memfds, and plain shared anonymous memory, which is written as a memfd that is
//! called `/dev/zero`.

use std::collections::{BTreeMap, BTreeSet};

use stasis_model::{Backing, FileId, Segment, SegmentId, Tree};

use super::source::{Input, Output};
use crate::{Error, Result, error::Place, wire::memfd::MemfdInodeEntry};

/// Name under which plain shared anonymous memory goes.
const ANONYMOUS: &[u8] = b"/dev/zero";

const MFD_HUGETLB: u32 = 4;
const HUGE_SHIFT: u32 = 26;

/// Numbers given to segments in `memfd.img`.
pub(super) type Inodes = BTreeMap<SegmentId, u32>;

pub(super) fn encode(tree: &Tree, out: &mut Output) -> Result<Inodes> {
    let inodes: Inodes = tree.segments.keys().copied().zip(1..).collect();
    let entries =
        tree.segments.iter().map(|(id, segment)| encode_segment(*id, segment, inodes[id]));
    out.all("memfd.img", &entries.collect::<Result<Vec<_>>>()?);
    Ok(inodes)
}

/// Decoded segments, and the segment of each inode number.
pub(super) fn decode(
    input: Input,
) -> Result<(BTreeMap<SegmentId, Segment>, BTreeMap<u64, SegmentId>)> {
    let mut segments = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let entries: Vec<MemfdInodeEntry> = input.all("memfd.img")?;
    for (index, entry) in entries.iter().enumerate() {
        let place = Place::new("memfd.img", index + 1);
        let id = SegmentId(entry.shmid.into());
        let segment = decode_segment(place, entry)?;
        if segments.insert(id, segment).is_some() {
            return Err(place.field("shmid", format!("{id} occurs twice")));
        }
        if inodes.insert(entry.inode_id, id).is_some() {
            return Err(place.field("inode_id", format!("{} occurs twice", entry.inode_id)));
        }
    }
    Ok((segments, inodes))
}

/// Segments that processes map without having them open.
pub(super) fn mapped(tree: &Tree) -> BTreeSet<SegmentId> {
    let vmas = tree.processes.iter().filter_map(|p| p.live()).flat_map(|live| &live.memory.vmas);
    let segment = |backing: &Backing| match backing {
        Backing::SegmentShared { segment, .. } => Some(*segment),
        _ => None,
    };
    vmas.filter_map(|vma| segment(&vma.backing)).collect()
}

/// Gives each of the segments an open file.
pub(super) fn file_ids(
    mapped: &BTreeSet<SegmentId>,
    mut fresh: impl FnMut() -> FileId,
) -> BTreeMap<SegmentId, FileId> {
    mapped.iter().map(|segment| (*segment, fresh())).collect()
}

fn encode_segment(id: SegmentId, segment: &Segment, inode: u32) -> Result<MemfdInodeEntry> {
    let shmid = u32::try_from(id.0)
        .map_err(|_| Error::unwritable(format!("shared memory {id}"), "its number is too large"))?;
    let name = segment.memfd.clone().unwrap_or_else(|| ANONYMOUS.to_vec());
    Ok(MemfdInodeEntry {
        named: (segment.memfd.is_some() && name == ANONYMOUS).then_some(true),
        name,
        uid: segment.uid,
        gid: segment.gid,
        size: segment.size,
        shmid,
        seals: segment.seals,
        inode_id: inode.into(),
        hugetlb_flag: segment
            .huge_page_shift
            .map(|shift| MFD_HUGETLB | u32::from(shift) << HUGE_SHIFT),
        mode: segment.mode,
    })
}

fn decode_segment(place: Place, entry: &MemfdInodeEntry) -> Result<Segment> {
    if i64::try_from(entry.size).is_err() {
        return Err(place.field("size", format!("{} bytes cannot be", entry.size)));
    }
    let anonymous = entry.name == ANONYMOUS && entry.named != Some(true);
    let huge = entry.hugetlb_flag.filter(|flag| flag & MFD_HUGETLB != 0);
    Ok(Segment {
        size: entry.size,
        memfd: (!anonymous).then(|| entry.name.clone()),
        uid: entry.uid,
        gid: entry.gid,
        mode: entry.mode,
        seals: entry.seals,
        huge_page_shift: huge.map(|flag| (flag >> HUGE_SHIFT) as u8),
    })
}
