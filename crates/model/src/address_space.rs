//! The memory of a process: its layout and mappings. Page contents are never held here.

use std::ops::Range;

use crate::{FileId, SegmentId};

/// Bytes of a page (x86-64).
pub const PAGE_SIZE: u64 = 4096;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSpace {
    pub layout: Layout,
    /// File of `/proc/PID/exe`.
    pub executable: FileId,
    /// In address order, never overlapping.
    pub vmas: Vec<Vma>,
    /// Ranges of `MADV_GUARD_INSTALL`.
    pub guards: Vec<Range<u64>>,
    pub aio_rings: Vec<AioRing>,
    /// `PR_SET_DUMPABLE`: 0, 1 or 2.
    pub dumpable: i32,
    pub thp_disabled: bool,
    /// Bit n: protection key n is allocated (pkeys(7)).
    pub protection_keys: u16,
}

/// What `PR_SET_MM_MAP` sets (prctl(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub code: Range<u64>,
    pub data: Range<u64>,
    pub stack_start: u64,
    pub brk_start: u64,
    pub brk: u64,
    pub arguments: Range<u64>,
    pub environment: Range<u64>,
    /// The auxiliary vector as words.
    pub auxv: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vma {
    pub range: Range<u64>,
    pub protection: Protection,
    pub flags: MapFlags,
    pub backing: Backing,
    /// Bit n: advice number n of madvise(2) is in effect.
    pub advice: u64,
    /// Given to memory without a file (prctl(2), `PR_SET_VMA_ANON_NAME`).
    pub name: Option<Vec<u8>>,
    /// Number of its protection key; 0 is everybody's.
    pub protection_key: u8,
}

/// `PROT_*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection(pub u32);

impl Protection {
    pub const READ: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const EXEC: u32 = 4;
}

/// Properties given at mmap(2) beside protection and backing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapFlags {
    pub grows_down: bool,
    pub locked: bool,
    /// Locked as pages come in (`MLOCK_ONFAULT`).
    pub locked_on_fault: bool,
    pub no_reserve: bool,
    /// log2 of the size of the huge pages.
    pub huge_page_shift: Option<u8>,
}

/// Where the pages of a mapping come from. Offsets are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    AnonymousPrivate,
    /// `[heap]`; private anonymous otherwise.
    Heap,
    /// `MAP_DROPPABLE`: the content may vanish at any time and is not kept.
    Droppable,
    FilePrivate {
        file: FileId,
        offset: u64,
        open_mode: u32,
    },
    FileShared {
        file: FileId,
        offset: u64,
        open_mode: u32,
    },
    /// Shared anonymous memory.
    SegmentShared {
        segment: SegmentId,
        offset: u64,
    },
    /// A System V segment attached by shmat(2).
    SystemV {
        segment: SegmentId,
        offset: u64,
        /// 0 if it was attached with `SHM_RDONLY`, else 2.
        open_mode: u32,
    },
    /// A memfd, through the open file given.
    MemfdPrivate {
        file: FileId,
        offset: u64,
        open_mode: u32,
    },
    MemfdShared {
        file: FileId,
        offset: u64,
        open_mode: u32,
    },
    Vdso,
    /// `[vvar]` and `[vvar_vclock]` as one.
    Vvar,
    Vsyscall,
    AioRing,
}

impl Vma {
    pub fn len_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub fn nr_pages(&self) -> u64 {
        self.len_bytes() / PAGE_SIZE
    }

    /// Whether the task's own pagemap holds this mapping's content.
    pub fn has_private_pages(&self) -> bool {
        match self.backing {
            Backing::AnonymousPrivate
            | Backing::Heap
            | Backing::FilePrivate { .. }
            | Backing::MemfdPrivate { .. }
            | Backing::Vdso
            | Backing::AioRing => true,
            Backing::Droppable
            | Backing::FileShared { .. }
            | Backing::SegmentShared { .. }
            | Backing::SystemV { .. }
            | Backing::MemfdShared { .. }
            | Backing::Vvar
            | Backing::Vsyscall => false,
        }
    }
}

/// io_setup(2): an asynchronous-I/O context, which is a mapped ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AioRing {
    /// The context's id, which is the ring's address.
    pub address: u64,
    pub nr_requests: u32,
    pub len_bytes: u32,
}

/// Consecutive pages whose content is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRun {
    /// Address in the task, or offset in the segment; page aligned.
    pub start: u64,
    pub nr_pages: u64,
}

impl PageRun {
    pub fn len_bytes(&self) -> u64 {
        self.nr_pages * PAGE_SIZE
    }

    pub fn end(&self) -> u64 {
        self.start + self.len_bytes()
    }
}
