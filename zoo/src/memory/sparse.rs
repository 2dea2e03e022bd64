//! A reservation of 64 GiB of which a few pages are used, as garbage collectors make them.

use crate::prelude::*;

pub const GOAL: &str = "a huge reservation with few pages survives quickly";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let len = 64 << 30;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let memory = raw::Mapping::new(0, len, libc::PROT_NONE, flags, -1, 0)?;
    let places = [0, 1 << 30, (7 << 30) + 4096, len - 16 * raw::PAGE];
    for place in places {
        memory.protect(place, 16 * raw::PAGE, raw::READ_WRITE)?;
        memory.fill(place + raw::PAGE, raw::PAGE, 5);
    }
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    places.iter().try_for_each(|place| memory.check(place + raw::PAGE, raw::PAGE, 5))?;
    places.iter().try_for_each(|place| memory.check_zero(place + 2 * raw::PAGE, raw::PAGE))
}
