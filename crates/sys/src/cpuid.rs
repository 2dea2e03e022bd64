//! Where the components of the XSAVE area lie on this processor (CPUID leaf 0xD).

use std::sync::LazyLock;

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
