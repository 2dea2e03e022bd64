//! User and group ids, capabilities, securebits, no_new_privs: of each thread (credentials(7)).

use stasis_model::Credentials;
use stasis_proctext::status::Status;
use stasis_tracee::{Batch, Blank};

use crate::error::{Error, Result};

const PRCTL: i64 = 157;
const SETRESUID: i64 = 117;
const SETRESGID: i64 = 119;
const SETGROUPS: i64 = 116;
const SETFSUID: i64 = 122;
const SETFSGID: i64 = 123;
const CAPSET: i64 = 126;
const PR_CAPBSET_DROP: i32 = 24;
const PR_GET_SECUREBITS: i32 = 27;
const PR_SET_SECUREBITS: i32 = 28;
const PR_SET_NO_NEW_PRIVS: i32 = 38;
const PR_CAP_AMBIENT: i32 = 47;
const PR_CAP_AMBIENT_RAISE: i32 = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: i32 = 4;
const SECBIT_NO_SETUID_FIXUP: u32 = 1 << 2;
const SECBIT_KEEP_CAPS: u32 = 1 << 4;

pub fn freeze(status: &Status, securebits: u32) -> Credentials {
    let [uid, euid, suid, fsuid] = status.uids;
    let [gid, egid, sgid, fsgid] = status.gids;
    Credentials {
        uid,
        euid,
        suid,
        fsuid,
        gid,
        egid,
        sgid,
        fsgid,
        groups: Some(status.groups.clone()),
        inheritable: status.inheritable,
        permitted: status.permitted,
        effective: status.effective,
        bounding: status.bounding,
        ambient: status.ambient,
        securebits,
        no_new_privs: status.no_new_privs,
        lsm_profile: None,
    }
}

/// What a blank has.
pub fn of_blank(blank: &mut Blank) -> Result<Credentials> {
    let mut batch = Batch::new();
    let securebits = batch.call("prctl(PR_GET_SECUREBITS)", PRCTL, [PR_GET_SECUREBITS.into()]);
    let outcome = blank.run(&batch)?;
    let what = "the first process";
    let securebits = outcome.result(securebits).map_err(Error::at(what, "prctl"))?;
    Ok(freeze(&blank.proc().status()?, securebits as u32))
}

/// Sets everything of a thread that has all rights; `inherited` is what it has now.
///
/// The order: ids while the securebits keep capabilities, then what needs `CAP_SETPCAP`, the
/// capabilities themselves last.
pub fn thaw(credentials: &Credentials, inherited: &Credentials, batch: &mut Batch) {
    let c = credentials;
    let groups = c.groups.clone().or_else(|| inherited.groups.clone());
    let known = Credentials { groups, lsm_profile: None, ..c.clone() };
    if known == *inherited {
        return;
    }
    let keep = SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS;
    batch.call("prctl(PR_SET_SECUREBITS)", PRCTL, [PR_SET_SECUREBITS.into(), keep.into()]);
    if let Some(groups) = &c.groups {
        let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
        let list = batch.bytes(&bytes);
        batch.call("setgroups", SETGROUPS, [groups.len().into(), list.into()]);
    }
    batch.call("setresgid", SETRESGID, [c.gid.into(), c.egid.into(), c.sgid.into()]);
    batch.try_call("setfsgid", SETFSGID, [c.fsgid.into()]);
    batch.call("setresuid", SETRESUID, [c.uid.into(), c.euid.into(), c.suid.into()]);
    batch.try_call("setfsuid", SETFSUID, [c.fsuid.into()]);
    for capability in bits(inherited.bounding & !c.bounding) {
        batch.call("prctl(PR_CAPBSET_DROP)", PRCTL, [PR_CAPBSET_DROP.into(), capability.into()]);
    }
    batch.call("prctl(PR_SET_SECUREBITS)", PRCTL, [PR_SET_SECUREBITS.into(), c.securebits.into()]);
    thaw_capabilities(c, batch);
    if c.no_new_privs {
        batch.call("prctl(PR_SET_NO_NEW_PRIVS)", PRCTL, [PR_SET_NO_NEW_PRIVS.into(), 1.into()]);
    }
}

fn thaw_capabilities(c: &Credentials, batch: &mut Batch) {
    const VERSION_3: u32 = 0x2008_0522;
    let clear = [PR_CAP_AMBIENT.into(), PR_CAP_AMBIENT_CLEAR_ALL.into()];
    batch.call("prctl(PR_CAP_AMBIENT)", PRCTL, clear);
    // The header's second half is the thread: 0, this one.
    let header = batch.words(&[u64::from(VERSION_3)]);
    let (low, high) = (|set: u64| set as u32, |set: u64| (set >> 32) as u32);
    let sets = [
        low(c.effective),
        low(c.permitted),
        low(c.inheritable),
        high(c.effective),
        high(c.permitted),
        high(c.inheritable),
    ];
    let bytes: Vec<u8> = sets.iter().flat_map(|set| set.to_ne_bytes()).collect();
    let data = batch.bytes(&bytes);
    batch.call("capset", CAPSET, [header.into(), data.into()]);
    for capability in bits(c.ambient) {
        let raise = [PR_CAP_AMBIENT.into(), PR_CAP_AMBIENT_RAISE.into(), capability.into()];
        batch.call("prctl(PR_CAP_AMBIENT)", PRCTL, raise);
    }
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| set & 1 << bit != 0)
}
