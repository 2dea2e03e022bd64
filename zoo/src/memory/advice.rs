//! Advice that changes a mapping for good: dump, fork, merge, huge pages, access pattern.

use crate::prelude::*;

pub const GOAL: &str = "lasting advice (madvise) survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let advice = [
        libc::MADV_DONTDUMP,
        libc::MADV_DONTFORK,
        libc::MADV_HUGEPAGE,
        libc::MADV_NOHUGEPAGE,
        libc::MADV_RANDOM,
        libc::MADV_SEQUENTIAL,
        libc::MADV_MERGEABLE,
    ];
    let mut mappings = Vec::new();
    for (seed, advice) in (1..).zip(advice) {
        // Between two of them lies one page without access, so that the kernel never joins them.
        let memory = raw::Mapping::private(5 * raw::PAGE)?;
        memory.protect(4 * raw::PAGE, raw::PAGE, libc::PROT_NONE)?;
        memory.fill(0, raw::PAGE, seed);
        // Merging is not in every kernel.
        if memory.advise(0, 4 * raw::PAGE, advice).is_ok() || advice != libc::MADV_MERGEABLE {
            mappings.push((memory, seed));
        }
    }
    let look = || -> anyhow::Result<Vec<_>> {
        mappings.iter().map(|(memory, _)| super::flags(memory.addr)).collect()
    };
    let before = look()?;
    stage.pause()?;
    ensure!(look()? == before, "{:?} instead of {before:?}", look()?);
    mappings.iter().try_for_each(|(memory, seed)| memory.check(0, raw::PAGE, *seed))
}
