//! Credentials.

use stasis_model::Credentials;

use crate::{Result, error::Place, wire::creds::CredsEntry};

pub(super) fn encode(creds: &Credentials) -> CredsEntry {
    CredsEntry {
        uid: creds.uid,
        gid: creds.gid,
        euid: creds.euid,
        egid: creds.egid,
        suid: creds.suid,
        sgid: creds.sgid,
        fsuid: creds.fsuid,
        fsgid: creds.fsgid,
        cap_inh: words(creds.inheritable),
        cap_prm: words(creds.permitted),
        cap_eff: words(creds.effective),
        cap_bnd: words(creds.bounding),
        cap_amb: words(creds.ambient),
        secbits: creds.securebits,
        groups: creds.groups.clone().unwrap_or_default(),
        no_groups: creds.groups.as_ref().is_some_and(Vec::is_empty).then_some(true),
        lsm_profile: creds.lsm_profile.clone(),
        no_new_privs: creds.no_new_privs.then_some(1),
        ..Default::default()
    }
}

pub(super) fn decode(place: Place, entry: &CredsEntry) -> Result<Credentials> {
    let known = !entry.groups.is_empty() || entry.no_groups == Some(true);
    Ok(Credentials {
        uid: entry.uid,
        euid: entry.euid,
        suid: entry.suid,
        fsuid: entry.fsuid,
        gid: entry.gid,
        egid: entry.egid,
        sgid: entry.sgid,
        fsgid: entry.fsgid,
        groups: known.then(|| entry.groups.clone()),
        inheritable: capabilities(place, "cap_inh", &entry.cap_inh)?,
        permitted: capabilities(place, "cap_prm", &entry.cap_prm)?,
        effective: capabilities(place, "cap_eff", &entry.cap_eff)?,
        bounding: capabilities(place, "cap_bnd", &entry.cap_bnd)?,
        ambient: capabilities(place, "cap_amb", &entry.cap_amb)?,
        securebits: entry.secbits,
        no_new_privs: entry.no_new_privs.is_some_and(|value| value != 0),
        lsm_profile: entry.lsm_profile.clone(),
    })
}

/// Low word first.
fn words(set: u64) -> Vec<u32> {
    vec![(set & 0xffff_ffff) as u32, (set >> 32) as u32]
}

fn capabilities(place: Place, field: &'static str, words: &[u32]) -> Result<u64> {
    match words {
        [] => Ok(0),
        [low, high] => Ok(u64::from(*low) | u64::from(*high) << 32),
        _ => Err(place.field(field, "does not have two words")),
    }
}
