//! Slots as the supervisor reaches them: by calls in a patient, as memory of ours as well in blanks.
//!
//! The slots of all blanks of a tree are one memory file, which they and we have mapped. A batch is put there and what
//! came out of it is taken without a call, and a birth has nothing of it to copy.

use std::{
    cell::RefCell,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use stasis_model::PAGE_SIZE;
use stasis_sys::{Errno, memory::RemoteRange, shared_memory::SharedMemory};

use crate::{
    error::{Error, Result},
    foothold::{FootholdPlan, NR_MAIN_SLOTS, Slot},
    remote,
};

/// Memory in which batches are executed.
pub(crate) trait SlotMemory {
    /// Writes to the ranges one after the other.
    fn put(&self, ranges: &[RemoteRange], bytes: &[u8]) -> Result<()>;

    /// The bytes of all ranges, one after the other.
    fn take(&self, ranges: &[RemoteRange]) -> Result<Vec<u8>>;
}

/// Slots that only the process with this pid has.
pub(crate) struct OwnSlots(pub i32);

impl SlotMemory for OwnSlots {
    fn put(&self, ranges: &[RemoteRange], bytes: &[u8]) -> Result<()> {
        remote::write_ranges(self.0, ranges, bytes)
    }

    fn take(&self, ranges: &[RemoteRange]) -> Result<Vec<u8>> {
        remote::read_ranges(self.0, ranges)
    }
}

/// The slots of all blanks of a tree.
#[derive(Debug)]
pub(crate) struct SharedSlots {
    plan: FootholdPlan,
    memory: SharedMemory,
    claimed: RefCell<[bool; NR_MAIN_SLOTS]>,
}

impl SharedSlots {
    /// Makes an empty file of `pid` the foothold, with the code in its first page.
    pub fn of(pid: i32, file: OwnedFd, plan: FootholdPlan, code: &[u8]) -> Result<Rc<Self>> {
        rustix::fs::ftruncate(&file, plan.len)
            .map_err(|errno| Error::at(pid, "ftruncate")(Errno(errno.raw_os_error())))?;
        let memory = SharedMemory::map(file.as_fd(), plan.len as usize)
            .map_err(Error::at(pid, "mmap of the foothold"))?;
        memory.write(0, code);
        Ok(Rc::new(SharedSlots { plan, memory, claimed: RefCell::default() }))
    }

    pub fn plan(&self) -> FootholdPlan {
        self.plan
    }

    /// A slot for a leader, which nobody else gets meanwhile.
    ///
    /// # Errors
    /// [`Error::Bug`] if there are more batches under way than there can be.
    pub fn claim(self: &Rc<Self>, pid: i32) -> Result<Claim> {
        let mut claimed = self.claimed.borrow_mut();
        let index = claimed.iter().position(|claimed| !claimed).ok_or_else(|| Error::Bug {
            pid,
            what: format!("{NR_MAIN_SLOTS} batches are under way already"),
        })?;
        claimed[index] = true;
        Ok(Claim { slots: Rc::clone(self), index })
    }

    /// Where an address of the foothold lies in the file.
    fn offset(&self, range: &RemoteRange) -> usize {
        assert!(range.address >= self.plan.base + PAGE_SIZE, "an address of a slot");
        (range.address - self.plan.base) as usize
    }
}

impl SlotMemory for SharedSlots {
    fn put(&self, ranges: &[RemoteRange], mut bytes: &[u8]) -> Result<()> {
        for range in ranges {
            let (some, others) = bytes.split_at(range.len);
            bytes = others;
            self.memory.write(self.offset(range), some);
        }
        Ok(())
    }

    fn take(&self, ranges: &[RemoteRange]) -> Result<Vec<u8>> {
        let mut bytes = vec![0; remote::len_of(ranges)];
        let mut rest = bytes.as_mut_slice();
        for range in ranges {
            let (some, others) = rest.split_at_mut(range.len);
            rest = others;
            self.memory.read(self.offset(range), some);
        }
        Ok(bytes)
    }
}

/// A slot in use, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    slots: Rc<SharedSlots>,
    index: usize,
}

impl Claim {
    pub fn slot(&self) -> Slot {
        self.slots.plan.main_slot(self.index)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.slots.claimed.borrow_mut()[self.index] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Rc<SharedSlots> {
        let plan = FootholdPlan::find([], 3, 100).unwrap();
        SharedSlots::of(0, tempfile::tempfile().unwrap().into(), plan, b"code").unwrap()
    }

    #[test]
    fn what_is_put_is_taken() {
        let slots = slots();
        let range = |slot: Slot, len| RemoteRange { address: slot.address + 1, len };
        let ranges = [range(slots.plan().main_slot(1), 4), range(slots.plan().thread_slot(2), 2)];
        slots.put(&ranges, b"abcdef").unwrap();
        assert_eq!(slots.take(&ranges[1..]).unwrap(), b"ef");
        assert_eq!(slots.take(&ranges).unwrap(), b"abcdef");
    }

    #[test]
    fn a_slot_is_claimed_once() {
        let slots = slots();
        let mut claims: Vec<Claim> = (0..NR_MAIN_SLOTS).map(|_| slots.claim(7).unwrap()).collect();
        assert!(slots.claim(7).is_err());
        let slot = claims.remove(1).slot();
        assert!(claims.iter().all(|claim| claim.slot() != slot));
        assert_eq!(slots.claim(7).unwrap().slot(), slot);
    }
}
