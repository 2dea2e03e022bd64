//! What the processor tells of itself, and where the components of the XSAVE area lie on it (CPUID
//! leaf 0xD).

use std::sync::LazyLock;

/// An answer: `eax`, `ebx`, `ecx`, `edx`. All zero for a leaf that the processor does not have.
pub fn leaf(leaf: u32, subleaf: u32) -> [u32; 4] {
    const RANGE: u32 = 0xffff_0000;
    let highest = std::arch::x86_64::__cpuid(leaf & RANGE).eax;
    // A range that is not there is answered as if it were another one.
    if highest & RANGE != leaf & RANGE || leaf > highest {
        return [0; 4];
    }
    let answer = std::arch::x86_64::__cpuid_count(leaf, subleaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

/// Components that have a number in the user's area.
const NR_COMPONENTS: usize = 32;

/// The answers never change, and on a virtual machine each question costs a trip to the host.
static COMPONENTS: LazyLock<[Option<(usize, usize)>; NR_COMPONENTS]> =
    LazyLock::new(|| std::array::from_fn(|number| ask(number as u32)));

/// Offset and size in bytes of a component in the standard format; `None` if the processor lacks it.
pub fn xsave_component(number: u32) -> Option<(usize, usize)> {
    COMPONENTS.get(number as usize).copied().flatten()
}

fn ask(number: u32) -> Option<(usize, usize)> {
    let answer = std::arch::x86_64::__cpuid_count(0xd, number);
    let in_user_area = answer.ecx & 1 == 0;
    (answer.eax != 0 && in_user_area).then_some((answer.ebx as usize, answer.eax as usize))
}
