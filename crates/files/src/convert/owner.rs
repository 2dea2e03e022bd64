//! Who hears of an open file by a signal (fcntl(2), `F_SETOWN`).

use stasis_model::{AsyncOwner, AsyncOwnerKind, NsPid};

use crate::{Result, error::Place, wire::fown::FownEntry};

pub(super) fn encode(owner: Option<&AsyncOwner>) -> FownEntry {
    let Some(owner) = owner else { return FownEntry::default() };
    FownEntry {
        uid: owner.uid,
        euid: owner.euid,
        signum: owner.signal,
        pid_type: match owner.kind {
            AsyncOwnerKind::Thread => 0,
            AsyncOwnerKind::Process => 1,
            AsyncOwnerKind::Group => 2,
        },
        pid: owner.id.0.cast_unsigned(),
    }
}

pub(super) fn decode(place: Place, fown: &FownEntry) -> Result<Option<AsyncOwner>> {
    if fown.pid == 0 {
        return Ok(None);
    }
    let kind = match fown.pid_type {
        0 => AsyncOwnerKind::Thread,
        1 => AsyncOwnerKind::Process,
        2 => AsyncOwnerKind::Group,
        other => return Err(place.field("fown", format!("{other} is no kind of owner"))),
    };
    let id = i32::try_from(fown.pid).map_err(|_| place.field("fown", "is no process id"))?;
    let (uid, euid, signal) = (fown.uid, fown.euid, fown.signum);
    Ok(Some(AsyncOwner { uid, euid, signal, kind, id: NsPid(id) }))
}

pub(super) fn check(place: Place, fown: &FownEntry) -> Result<()> {
    decode(place, fown).map(|_| ())
}
