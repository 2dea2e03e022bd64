//! Threads of a blank, born at work: each runs a batch of its own before anybody traces it, on whichever
//! processor is free, and then waits. One stop for each is enough, in which it is taken in.
//!
//! Should one of them go astray, the process dies with it, which is a blank's way.

use std::{collections::HashMap, time::Duration};

use stasis_sys::{memory::RemoteRange, ptrace, wait};

use crate::{
    batch::{Batch, Call, Outcome},
    blank::{Blank, CLONE3, Slept, clone_arguments, seize, wait_for_event},
    error::{Error, Result},
    foothold::Slot,
    sleepers::monotonic_ns,
    slots::SlotMemory,
    stub,
};

/// A thread to be born.
#[derive(Debug)]
pub struct Newborn {
    /// Its id as it will see itself.
    pub own_tid: i32,
    pub batch: Batch,
    /// The last call of the batch, if the thread is to sleep in it.
    pub sleep: Option<Call>,
}

/// Words that a thread finds on its stack: where its records begin and end, its id, and what it does then.
const ENTRY_WORDS: usize = 4;
const ENTRY: usize = ENTRY_WORDS * 8;

/// A newborn and where its batch lies.
struct Placed<'a> {
    newborn: &'a Newborn,
    slot: Slot,
}

impl Placed<'_> {
    fn own_tid(&self) -> i32 {
        self.newborn.own_tid
    }

    /// Address of the words that it finds on its stack.
    fn entry(&self) -> u64 {
        self.slot.address - ENTRY as u64
    }

    /// Whether it stands in the call in which it is to sleep.
    fn sleeps(&self, code: u64, regs: &ptrace::UserRegs) -> bool {
        const SYSCALL_LEN: u64 = 2;
        let in_record = |call: Call| regs.bx == self.slot.address + call.offset();
        let in_call =
            regs.ip == code + stub::SYSCALL + SYSCALL_LEN && regs.orig_ax.cast_signed() >= 0;
        in_call && self.newborn.sleep.is_some_and(in_record)
    }
}

impl Blank {
    /// Bears the further threads of the process. All of them run their batches, and stand when this returns;
    /// [`crate::BlankThread::slept`] tells how it went with those that were to sleep.
    ///
    /// # Errors
    /// [`Error::Kernel`] naming a call that failed, and the thread; `EEXIST` for clone3(2) if its id is taken.
    pub fn bear_threads(&mut self, newborns: &[Newborn]) -> Result<()> {
        let placed = self.place(newborns);
        let range = self.write_batches(&placed)?;
        let since_ns = monotonic_ns();
        // Whoever was just born looks once more at the record that bore it.
        let claim = self.slots.claim(self.pid())?;
        let in_turns = claim.slot().halves().into_iter().cycle();
        let mut portions = placed.chunks(BIRTHS_AT_ONCE).map(Births::of).zip(in_turns).peekable();
        let (mut tids, mut asleep, mut known) = (Vec::new(), Vec::new(), HashMap::new());
        portions.peek().map_or(Ok(()), |(first, half)| self.start_in(*half, &first.batch))?;
        while let Some((born, half)) = portions.next() {
            born.check(&self.finish_in(half, &born.batch)?)?;
            // While the leader bears the next, on another processor as a rule, we take in these.
            portions.peek().map_or(Ok(()), |(next, half)| self.start_in(*half, &next.batch))?;
            let own_tids: Vec<i32> = born.placed.iter().map(Placed::own_tid).collect();
            let born_tids = self.host_tids(&own_tids, &mut known)?;
            asleep.extend(self.take_in(born.placed, &born_tids)?);
            tids.extend(born_tids);
        }
        let bytes = self.slots.take(&[range])?;
        for ((placed, tid), asleep) in placed.iter().zip(tids).zip(asleep) {
            let Newborn { own_tid, batch, sleep } = placed.newborn;
            let from = (placed.slot.address - range.address) as usize;
            let mut outcome = batch.outcome(tid, bytes[from..][..batch.encoded_len()].to_vec());
            let slept = sleep.map(|call| {
                let result = asleep.unwrap_or_else(|| outcome.raw(call));
                outcome.settle(call, result);
                Slept { result, since_ns }
            });
            outcome.check()?;
            self.add_thread((tid, *own_tid), slept);
        }
        Ok(())
    }

    /// Side by side in the room that there is for the longest ones, on as few pages as they need.
    fn place<'a>(&self, newborns: &'a [Newborn]) -> Vec<Placed<'a>> {
        let mut address = self.plan().thread_slot(1).address;
        let placed = newborns.iter().map(|newborn| {
            let slot = Slot { address: address + ENTRY as u64, len: newborn.batch.len_bytes() };
            address = (slot.address + slot.len as u64).next_multiple_of(16);
            Placed { newborn, slot }
        });
        let placed = placed.collect();
        assert!(address <= self.plan().range().end, "no batch is longer than its slot");
        placed
    }

    /// Puts all batches where they belong, and tells where that is.
    fn write_batches(&self, placed: &[Placed<'_>]) -> Result<RemoteRange> {
        let address = placed.first().map_or(0, Placed::entry);
        let mut bytes = Vec::new();
        for placed in placed {
            bytes.resize((placed.entry() - address) as usize, 0);
            let entry = bytes.len();
            bytes.resize(entry + ENTRY, 0);
            let batch = &placed.newborn.batch;
            let records_end = batch.encode(self.pid(), placed.slot, &mut bytes)?;
            let own_tid = i64::from(placed.newborn.own_tid).cast_unsigned();
            let words = [placed.slot.address, records_end, own_tid, stub::BORN];
            for (word, place) in words.iter().zip(bytes[entry..].chunks_exact_mut(8)) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
        }
        let range = RemoteRange { address, len: bytes.len() };
        self.slots.put(&[range], &bytes)?;
        Ok(range)
    }

    /// Seizes all, and stops each when it is through; tells what the calls returned in which they sleep.
    fn take_in(&self, placed: &[Placed<'_>], tids: &[i32]) -> Result<Vec<Option<i64>>> {
        let code = self.plan().base;
        tids.iter().try_for_each(|tid| seize(*tid, ptrace::Options::NONE))?;
        let mut asleep = vec![None; placed.len()];
        let mut at_work: Vec<usize> = (0..placed.len()).collect();
        let mut patience = FIRST_PAUSE;
        loop {
            for index in &at_work {
                let tid = tids[*index];
                ptrace::interrupt(tid).map_err(Error::at(tid, "ptrace(INTERRUPT)"))?;
            }
            let mut not_through = Vec::new();
            for index in at_work {
                let (tid, placed) = (tids[index], &placed[index]);
                wait_for_event(tid, wait::EVENT_STOP)?;
                let regs = ptrace::registers(tid).map_err(Error::at(tid, "ptrace(GETREGS)"))?;
                if placed.sleeps(code, &regs) {
                    asleep[index] = Some(regs.ax.cast_signed());
                } else if regs.ip != code + stub::AFTER_PAUSE {
                    ptrace::cont(tid, 0).map_err(Error::at(tid, "ptrace(CONT)"))?;
                    not_through.push(index);
                }
            }
            if not_through.is_empty() {
                return Ok(asleep);
            }
            at_work = not_through;
            // Whoever waits for a busy processor gets no further if we interrupt it before it has its turn.
            std::thread::sleep(patience);
            patience = (2 * patience).min(LONGEST_PAUSE);
        }
    }
}

/// Between two looks at threads that are not through.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// By one batch of the leader: enough that its stop weighs little, few enough that we are not idle for long.
const BIRTHS_AT_ONCE: usize = 64;

/// What a thread shares with its process, from `CLONE_VM` to `CLONE_SYSVSEM` (clone(2)).
const THREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;

/// A portion of births.
struct Births<'a> {
    placed: &'a [Placed<'a>],
    /// Of the leader.
    batch: Batch,
    /// Those which bear.
    calls: Vec<Call>,
}

impl<'a> Births<'a> {
    /// Each thread is born with the address of its entry as its stack, and with all signals blocked, among them that of
    /// the leader's stops: so a birth that fails must not end the batch.
    fn of(placed: &'a [Placed<'a>]) -> Self {
        const RT_SIGPROCMASK: i64 = 14;
        const SIG_SETMASK: i32 = 2;
        const MASK_LEN: usize = 8;
        let mut batch = Batch::new();
        let (all, before) = (batch.words(&[u64::MAX]), batch.space(MASK_LEN));
        let block = [SIG_SETMASK.into(), all.into(), before.into(), MASK_LEN.into()];
        batch.call("rt_sigprocmask", RT_SIGPROCMASK, block);
        let bear = |placed: &Placed<'_>| {
            let (ids, entry) = ((placed.own_tid(), 0), placed.entry());
            let arguments = clone_arguments(&mut batch, THREAD, ids, Some(entry));
            batch.try_call("clone3", CLONE3, arguments)
        };
        let calls = placed.iter().map(bear).collect();
        let unblock = [SIG_SETMASK.into(), before.into(), 0.into(), MASK_LEN.into()];
        batch.call("rt_sigprocmask", RT_SIGPROCMASK, unblock);
        Births { placed, batch, calls }
    }

    /// Fails if one of them did.
    fn check(&self, outcome: &Outcome) -> Result<()> {
        self.calls.iter().zip(self.placed).try_for_each(|(call, placed)| {
            let pid = placed.own_tid();
            let failed = |errno| Error::Kernel { pid, call: "clone3", errno };
            outcome.result(*call).map(drop).map_err(failed)
        })
    }
}
