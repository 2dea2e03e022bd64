//! What the processor tells of itself, and where the components of the XSAVE area lie on it (CPUID
//! leaf 0xD).

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
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
    // Asked for each component of each thread.
    static PLACES: [OnceLock<Option<(usize, usize)>>; 64] = [const { OnceLock::new() }; 64];
    let place = PLACES.get(number as usize)?;
    *place.get_or_init(|| ask_xsave_component(number))
}

fn ask_xsave_component(number: u32) -> Option<(usize, usize)> {
    const XSAVE: u32 = 0xd;
    // Those below tell of the area as a whole.
    const FIRST: u32 = 2;
    let [size, offset, flags, _] = if number < FIRST { [0; 4] } else { leaf(XSAVE, number) };
    let in_user_area = flags & 1 == 0;
    (size != 0 && in_user_area).then_some((offset as usize, size as usize))
}

/// Where the last component in use of an XSAVE area (standard format) ends, by its header. It may lie behind the
/// end of this piece of it.
pub fn end_of_use(area: &[u8]) -> usize {
    // The legacy area and the header, which begins with the bits of the components in use.
    const HEADER: usize = 512;
    const LEAST: usize = HEADER + 64;
    let Some(header) = area.get(HEADER..HEADER + 8) else { return area.len() };
    let in_use = u64::from_ne_bytes(header.try_into().expect("eight bytes"));
    let components = (2..64).filter(|number| in_use & 1 << number != 0);
    let ends = components.map(|number| match xsave_component(number) {
        Some((offset, size)) => offset + size,
        // Nobody knows where it ends.
        None => usize::MAX,
    });
    ends.max().unwrap_or(0).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_ends_with_what_is_in_use() {
        let area = |in_use: u64| {
            let mut area = vec![0; 11008];
            area[512..520].copy_from_slice(&in_use.to_ne_bytes());
            area
        };
        assert_eq!(end_of_use(&area(0b11)), 576);
        assert_eq!(end_of_use(&area(1 << 62)), usize::MAX, "of a component that is not known");
        assert_eq!(end_of_use(&[0; 512]), 512, "without a header");
        if let Some((offset, size)) = xsave_component(2) {
            assert_eq!(end_of_use(&area(0b111)), offset + size);
        }
    }
}
