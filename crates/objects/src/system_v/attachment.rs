//! Attachments of System V memory to a process (shmat(2)).
//!
//! What was attached at once and then unmapped or protected in part is several mappings of one open
//! file, which shmdt(2) takes away together. So it is attached once: at its place if all of it is
//! there, else where there is room, and its pieces are moved to where they were. The kernel counts
//! each mapping as one that has the memory attached (`shm_nattch`), which comes out as before.

use std::ops::Range;

use stasis_model::{AddressSpace, Backing, Protection, SegmentId, Subject, SystemV, Vma};
use stasis_proctext::maps::Mapping;
use stasis_tracee::Batch;

use super::Identity;
use crate::{
    error::{Error, Result},
    gathering::Gathering,
};

const MUNMAP: i64 = 11;
const MREMAP: i64 = 25;
const SHMAT: i64 = 30;
const SHM_RDONLY: u32 = 0o10000;
const MREMAP_MAYMOVE_FIXED: u64 = 3;
const READ_WRITE: u32 = 2;

/// Whether a mapping looks like an attachment, from its text alone: `/SYSV` and the key.
pub fn is_attachment(map: &Mapping) -> bool {
    let key = map.name.strip_prefix(b"/SYSV");
    map.shared && map.deleted && key.is_some_and(|key| key.len() == 8)
}

/// Why the attachments of a tree that shares its IPC namespace with others cannot be kept.
pub const SHARED: (&str, &str) = (
    "System V shared memory of an IPC namespace that others have too",
    "run it in a container or under unshare --ipc",
);

/// Freezes an attachment; `None`, and an obstacle, if its memory is none of the tree's namespace.
pub fn freeze(
    map: &Mapping,
    (stat, open_mode): (&rustix::fs::Stat, u32),
    subject: Subject,
    gathering: &mut Gathering,
) -> Option<Backing> {
    let owns = gathering.tree.namespaces.owns(stasis_model::NamespaceKind::Ipc);
    match gathering.system_v.get(&Identity::of(stat)) {
        Some(segment) => {
            Some(Backing::SystemV { segment: *segment, offset: map.offset, open_mode })
        }
        None if owns => {
            let reason = "System V shared memory of another IPC namespace than the tree's own";
            gathering.obstacle(subject, reason, None);
            None
        }
        None => {
            gathering.obstacle(subject, SHARED.0, Some(SHARED.1));
            None
        }
    }
}

/// The protection with which shmat(2) maps.
pub fn first_protection(open_mode: u32) -> u32 {
    if open_mode == READ_WRITE { Protection::READ | Protection::WRITE } else { Protection::READ }
}

/// Mappings that came from one shmat(2).
#[derive(Debug, PartialEq, Eq)]
struct Attachment<'a> {
    segment: SegmentId,
    open_mode: u32,
    /// Where the segment's first byte was or would be; it may lie beyond any address.
    base: u64,
    pieces: Vec<(&'a Vma, u64)>,
}

fn attachments(memory: &AddressSpace) -> Vec<Attachment<'_>> {
    let mut all: Vec<Attachment> = Vec::new();
    for vma in &memory.vmas {
        let Backing::SystemV { segment, offset, open_mode } = vma.backing else { continue };
        let base = vma.range.start.wrapping_sub(offset);
        let same = |known: &&mut Attachment| {
            (known.segment, known.base, known.open_mode) == (segment, base, open_mode)
        };
        match all.iter_mut().find(same) {
            Some(known) => known.pieces.push((vma, offset)),
            None => {
                let pieces = vec![(vma, offset)];
                all.push(Attachment { segment, open_mode, base, pieces });
            }
        }
    }
    all
}

impl Attachment<'_> {
    /// Whether the pieces, which are in the order of their addresses, are all of the segment.
    fn is_whole(&self, len: u64) -> bool {
        let mut end = self.base;
        self.pieces.iter().all(|(vma, _)| {
            let follows = vma.range.start == end;
            end = vma.range.end;
            follows
        }) && end.wrapping_sub(self.base) == len
    }

    fn attach(&self, at: u64, batch: &mut Batch) {
        let flags = if self.open_mode == READ_WRITE { 0 } else { SHM_RDONLY };
        batch.call("shmat", SHMAT, [self.segment.0.into(), at.into(), flags.into()]);
    }
}

/// Adds the calls that attach all System V memory of a process, when its own old memory is gone.
///
/// `keep` is a range that the process needs meanwhile.
///
/// # Errors
/// [`Error::Unsupported`] if there is no room beside the process's memory.
pub fn thaw(
    memory: &AddressSpace,
    objects: &SystemV,
    keep: &Range<u64>,
    batch: &mut Batch,
) -> Result<()> {
    for attachment in attachments(memory) {
        let len = objects.memory[&attachment.segment].len_bytes();
        if attachment.is_whole(len) {
            attachment.attach(attachment.base, batch);
            continue;
        }
        let taken = memory.vmas.iter().map(|vma| vma.range.clone()).chain([keep.clone()]);
        let room = stasis_tracee::find_gap(taken, len).ok_or_else(|| Error::Unsupported {
            object: format!("System V memory {}", attachment.segment),
            reason: "there is no room to attach it before it is cut to its pieces".into(),
        })?;
        attachment.attach(room, batch);
        for (vma, offset) in &attachment.pieces {
            let (from, len, to) = (room + offset, vma.len_bytes(), vma.range.start);
            let flags = MREMAP_MAYMOVE_FIXED;
            let arguments = [from.into(), len.into(), len.into(), flags.into(), to.into()];
            batch.call("mremap", MREMAP, arguments);
        }
        batch.call("munmap", MUNMAP, [room.into(), len.into()]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use stasis_model::MapFlags;

    use super::*;

    fn vma(range: Range<u64>, offset: u64, open_mode: u32) -> Vma {
        Vma {
            range,
            protection: Protection(1),
            flags: MapFlags::default(),
            backing: Backing::SystemV { segment: SegmentId(3), offset, open_mode },
            advice: 0,
            name: None,
            protection_key: 0,
        }
    }

    #[test]
    fn pieces_of_one_attachment_belong_together() {
        let check = |vmas: Vec<Vma>, expect: &[(usize, bool)]| {
            let memory = AddressSpace { vmas, ..AddressSpace::default() };
            let found: Vec<_> =
                attachments(&memory).iter().map(|a| (a.pieces.len(), a.is_whole(0x3000))).collect();
            assert_eq!(found, expect);
        };
        check(vec![vma(0x1_0000..0x1_3000, 0, 2)], &[(1, true)]);
        check(
            vec![vma(0x1_0000..0x1_1000, 0, 2), vma(0x1_1000..0x1_3000, 0x1000, 2)],
            &[(2, true)],
        );
        check(
            vec![vma(0x1_0000..0x1_1000, 0, 2), vma(0x1_2000..0x1_3000, 0x2000, 2)],
            &[(2, false)],
        );
        check(
            vec![vma(0x1_0000..0x1_1000, 0, 2), vma(0x1_1000..0x1_3000, 0x1000, 0)],
            &[(1, false), (1, false)],
        );
        check(
            vec![vma(0x1_0000..0x1_3000, 0, 2), vma(0x2_0000..0x2_3000, 0, 2)],
            &[(1, true), (1, true)],
        );
        // Where its first byte would be there are no addresses.
        check(vec![vma(0x1000..0x2000, 0x2000, 2)], &[(1, false)]);
    }
}
