//! Memory that changes all the time in every way: pages are written, given back, moved, mapped over
//! others, protected, inherited, grown. What each page must hold is written down beside it, so that any
//! page that a checkpoint took from another time than the rest shows. Meant for checkpoints in rounds;
//! forked children go on by themselves.

use crate::prelude::*;

pub const GOAL: &str = "memory that changes in every way while rounds are taken is of one instant";
pub const KIND: Kind = Kind::Survives;

const PAGE: usize = raw::PAGE;
const NR_SLOTS: usize = 24;
/// Pages of a slot; the largest are above the size of a huge page.
const SIZES: [usize; 4] = [3, 40, 200, 1100];
const MAX_CHILDREN: usize = 3;

pub fn run(stage: &Stage) -> Verdict {
    let seed = std::process::id().wrapping_mul(2_654_435_761) | 1;
    let mut world = World { slots: Vec::new(), seed, stamp: 0, protected: None };
    for _ in 0..NR_SLOTS {
        let slot = world.new_slot(None)?;
        world.slots.push(slot);
    }
    for _ in 0..3000 {
        world.step()?;
    }
    stage.mark("changes-by-itself")?;
    stage.ready()?;
    let children = live(stage, &mut world, MAX_CHILDREN)?;
    world.check().with_context(|| format!("seed {seed}"))?;
    children.iter().try_for_each(|child| child.join(stage))
}

/// Changes the world until the test says go.
fn live(stage: &Stage, world: &mut World, may_fork: usize) -> anyhow::Result<Vec<raw::Child>> {
    let mut children: Vec<raw::Child> = Vec::new();
    while !stage.path("go").exists() {
        for _ in 0..20 {
            world.step()?;
        }
        if children.len() < may_fork && world.below(60) == 0 {
            let child = raw::fork(stage, |stage| {
                live(stage, world, 0)?;
                world.check()
            })?;
            children.push(child);
        }
        std::thread::sleep(MS);
    }
    Ok(children)
}

struct World {
    slots: Vec<Slot>,
    seed: u32,
    stamp: u64,
    /// A slot that cannot be touched at the moment.
    protected: Option<usize>,
}

struct Slot {
    memory: raw::Mapping,
    /// What each page holds, 0 if it was never written.
    pages: Vec<u64>,
}

impl World {
    fn below(&mut self, limit: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        self.seed as usize % limit
    }

    /// New memory, at an address of the kernel's choice or over that of another slot.
    fn new_slot(&mut self, over: Option<(usize, usize)>) -> anyhow::Result<Slot> {
        let (addr, nr_pages, fixed) = match over {
            Some((addr, nr_pages)) => (addr, nr_pages, libc::MAP_FIXED),
            None => (0, SIZES[self.below(SIZES.len())], 0),
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
        let memory =
            raw::Mapping::new(addr, nr_pages * PAGE, raw::READ_WRITE, flags, -1, 0)?;
        if nr_pages > 1000 && self.below(2) == 0 {
            // Refused where there are no huge pages.
            let _ = memory.advise(0, memory.len, libc::MADV_HUGEPAGE);
        }
        Ok(Slot { memory, pages: vec![0; nr_pages] })
    }

    /// One change.
    fn step(&mut self) -> Verdict {
        let at = self.below(self.slots.len());
        if self.protected == Some(at) {
            self.protected = None;
            let memory = &self.slots[at].memory;
            return Ok(memory.protect(0, memory.len, raw::READ_WRITE)?);
        }
        match self.below(40) {
            0 => self.replace(at),
            1 => self.move_elsewhere(at),
            2 => self.grow_or_shrink(at),
            3 if self.protected.is_none() => self.protect(at),
            4..6 => self.give_back(at),
            _ => {
                let page = self.below(self.slots[at].pages.len());
                self.stamp += 1;
                let stamp = self.stamp;
                self.slots[at].write(page, stamp);
                Ok(())
            }
        }
    }

    /// Other memory at the same address.
    fn replace(&mut self, at: usize) -> Verdict {
        let slot = &self.slots[at];
        let place = (slot.memory.addr, slot.pages.len());
        self.slots[at] = self.new_slot(Some(place))?;
        Ok(())
    }

    /// The same memory at another address; then other memory at the old one.
    fn move_elsewhere(&mut self, at: usize) -> Verdict {
        let (addr, len) = (self.slots[at].memory.addr, self.slots[at].memory.len);
        let target = raw::Mapping::private(len)?;
        let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
        raw::syscall(libc::SYS_mremap, &[addr, len, len, flags, target.addr])?;
        self.slots[at].memory.addr = target.addr;
        if self.slots.len() < 2 * NR_SLOTS {
            let mut other = self.new_slot(Some((addr, len / PAGE)))?;
            self.stamp += 1;
            other.write(0, self.stamp);
            self.slots.push(other);
        }
        Ok(())
    }

    fn grow_or_shrink(&mut self, at: usize) -> Verdict {
        let slot = &mut self.slots[at];
        let (addr, len) = (slot.memory.addr, slot.memory.len);
        let nr_pages = if slot.pages.len() > 30 { slot.pages.len() - 20 } else { slot.pages.len() + 20 };
        let flags = libc::MREMAP_MAYMOVE as usize;
        let addr = raw::syscall(libc::SYS_mremap, &[addr, len, nr_pages * PAGE, flags])?;
        slot.memory = raw::Mapping { addr, len: nr_pages * PAGE };
        slot.pages.resize(nr_pages, 0);
        Ok(())
    }

    fn protect(&mut self, at: usize) -> Verdict {
        self.protected = Some(at);
        let protection = if self.below(2) == 0 { libc::PROT_NONE } else { libc::PROT_READ };
        let memory = &self.slots[at].memory;
        Ok(memory.protect(0, memory.len, protection)?)
    }

    fn give_back(&mut self, at: usize) -> Verdict {
        let nr_pages = self.slots[at].pages.len();
        let first = self.below(nr_pages);
        let count = 1 + self.below(nr_pages - first);
        let slot = &mut self.slots[at];
        slot.memory.advise(first * PAGE, count * PAGE, libc::MADV_DONTNEED)?;
        slot.pages[first..first + count].fill(0);
        Ok(())
    }

    fn check(&mut self) -> Verdict {
        if let Some(at) = self.protected.take() {
            let memory = &self.slots[at].memory;
            memory.protect(0, memory.len, raw::READ_WRITE)?;
        }
        for (number, slot) in self.slots.iter().enumerate() {
            for (page, stamp) in slot.pages.iter().enumerate() {
                let found = slot.read(page);
                ensure!(
                    found == [*stamp; 3],
                    "page {page} of slot {number} at {:#x} holds {found:?} instead of {stamp} of {}",
                    slot.memory.addr,
                    self.stamp
                );
            }
        }
        Ok(())
    }
}

impl Slot {
    /// At the beginning, in the middle and at the end of the page.
    const PLACES: [usize; 3] = [0, 2048, PAGE - 8];

    fn write(&mut self, page: usize, stamp: u64) {
        self.pages[page] = stamp;
        for place in Self::PLACES {
            self.memory.write(page * PAGE + place, &stamp.to_ne_bytes());
        }
    }

    fn read(&self, page: usize) -> [u64; 3] {
        Self::PLACES.map(|place| {
            let bytes = self.memory.read(page * PAGE + place, 8);
            u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
        })
    }
}
