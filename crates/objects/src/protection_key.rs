//! Protection keys of memory (pkeys(7)): which ones a process has allocated. What each thread may do with
//! them is a register and comes back with the others.

use stasis_tracee::{Batch, Call, Outcome};

const PKEY_MPROTECT: i64 = 329;
const PKEY_ALLOC: i64 = 330;
const PKEY_FREE: i64 = 331;
/// Key 0 is everybody's.
const KEYS: std::ops::Range<u32> = 1..16;

/// The answers for each key.
#[derive(Clone, Debug)]
pub struct Asked(Vec<Call>);

/// Adds calls that tell which keys are allocated and change nothing: pkey_mprotect(2) of memory that
/// no process can have says `ENOMEM` if the key is allocated, and else `EINVAL`.
pub fn ask(batch: &mut Batch) -> Asked {
    const OF_THE_KERNEL: u64 = 0xffff_8000_0000_0000;
    const LEN: u32 = 4096;
    let ask = |key: u32| {
        let arguments = [OF_THE_KERNEL.into(), LEN.into(), 0.into(), key.into()];
        batch.try_call("pkey_mprotect", PKEY_MPROTECT, arguments)
    };
    Asked(KEYS.map(ask).collect())
}

/// Bit n: key n is allocated. The key that the kernel itself takes for memory which can only be executed
/// is not among them.
pub fn read(outcome: &Outcome, asked: &Asked) -> u16 {
    let is_allocated = |call: &Call| matches!(outcome.result(*call), Err(stasis_sys::Errno::NOMEM));
    let keys = KEYS.zip(&asked.0).filter(|(_, call)| is_allocated(call));
    keys.fold(0, |bits, (key, _)| bits | 1 << key)
}

/// Adds the calls that leave a process without keys with these: all are taken, those too many freed.
pub fn thaw(allocated: u16, batch: &mut Batch) {
    const DISABLE_ACCESS: u32 = 1;
    if allocated == 0 {
        return;
    }
    for _ in KEYS {
        batch.try_call("pkey_alloc", PKEY_ALLOC, [0.into(), DISABLE_ACCESS.into()]);
    }
    for key in KEYS {
        if allocated & 1 << key == 0 {
            batch.try_call("pkey_free", PKEY_FREE, [key.into()]);
        }
    }
}

/// Adds the call that protects memory with a key.
pub fn protect(range: &std::ops::Range<u64>, protection: u32, key: u8, batch: &mut Batch) {
    let len = range.end - range.start;
    let arguments = [range.start.into(), len.into(), protection.into(), u32::from(key).into()];
    batch.call("pkey_mprotect", PKEY_MPROTECT, arguments);
}
