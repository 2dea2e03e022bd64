//! What the processor tells of itself, and where the components of the XSAVE area lie on it (CPUID
//! leaf 0xD).

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// `eax`, `ebx`, `ecx`, `edx`
type Answer = [u32; 4];

/// Answers by leaf and subleaf. They never change, and on a virtual machine each question costs a trip to the
/// host, which takes as long as ten system calls.
static KNOWN: Mutex<BTreeMap<(u32, u32), Answer>> = Mutex::new(BTreeMap::new());

/// An answer: `eax`, `ebx`, `ecx`, `edx`. All zero for a leaf that the processor does not have.
pub fn leaf(leaf: u32, subleaf: u32) -> Answer {
    const RANGE: u32 = 0xffff_0000;
    let [highest, ..] = ask(leaf & RANGE, 0);
    // A range that is not there is answered as if it were another one.
    if highest & RANGE != leaf & RANGE || leaf > highest {
        return [0; 4];
    }
    ask(leaf, subleaf)
}

fn ask(leaf: u32, subleaf: u32) -> Answer {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry((leaf, subleaf)).or_insert_with(|| {
        let answer = std::arch::x86_64::__cpuid_count(leaf, subleaf);
        [answer.eax, answer.ebx, answer.ecx, answer.edx]
    })
}

/// Offset and size in bytes of a component in the standard format; `None` if the processor lacks it.
pub fn xsave_component(number: u32) -> Option<(usize, usize)> {
    const XSAVE: u32 = 0xd;
    // Those below tell of the area as a whole.
    const FIRST: u32 = 2;
    let [size, offset, flags, _] = if number < FIRST { [0; 4] } else { leaf(XSAVE, number) };
    let in_user_area = flags & 1 == 0;
    (size != 0 && in_user_area).then_some((offset as usize, size as usize))
}
