//! Namespaces: by which numbers they are told apart, and the files of those that are the tree's own.

use stasis_model::{ClockReadings, NamespaceKind, Namespaces, NsPid, Time, UtsNames};

use super::{
    facts, mounts,
    source::{Input, Output},
    system_v, timers,
};
use crate::{
    Error, Facts, Result,
    error::Place,
    wire::{
        namespace::{TimensEntry, Timespec, UsernsEntry, UtsnsEntry},
        netdev::NetnsEntry,
        pstree::TaskKobjIdsEntry,
    },
};

/// Key under which a container's network namespace is handed over at a restore.
const NETWORK_KEY: &[u8] = b"extRootNetNS";

/// The number that stands for the tree's namespace of a kind in a checkpoint that is written here.
///
/// The supervisor's are 1 to 8 in the order of [`NamespaceKind::ALL`]; the tree's own follow. Only
/// whether two are equal means anything.
pub fn namespace_id(namespaces: &Namespaces, kind: NamespaceKind) -> u32 {
    let host = host_id(kind);
    if !namespaces.owns(kind) {
        return host;
    }
    let before = NamespaceKind::ALL.iter().filter(|k| namespaces.owns(**k) && host_id(**k) < host);
    NamespaceKind::ALL.len() as u32 + 1 + before.count() as u32
}

fn host_id(kind: NamespaceKind) -> u32 {
    let index = NamespaceKind::ALL.iter().position(|other| *other == kind);
    index.expect("all kinds are among ALL") as u32 + 1
}

/// Fills in the namespaces; `None` stands for the supervisor.
pub(super) fn encode_ids(
    namespaces: Option<&Namespaces>,
    ids: TaskKobjIdsEntry,
) -> TaskKobjIdsEntry {
    let id = |kind| {
        Some(namespaces.map_or_else(|| host_id(kind), |namespaces| namespace_id(namespaces, kind)))
    };
    TaskKobjIdsEntry {
        pid_ns_id: id(NamespaceKind::Pid),
        net_ns_id: id(NamespaceKind::Net),
        ipc_ns_id: id(NamespaceKind::Ipc),
        uts_ns_id: id(NamespaceKind::Uts),
        mnt_ns_id: id(NamespaceKind::Mount),
        user_ns_id: id(NamespaceKind::User),
        cgroup_ns_id: id(NamespaceKind::Cgroup),
        time_ns_id: id(NamespaceKind::Time),
        ..ids
    }
}

fn id_of(ids: &TaskKobjIdsEntry, kind: NamespaceKind) -> Option<u32> {
    match kind {
        NamespaceKind::Pid => ids.pid_ns_id,
        NamespaceKind::Net => ids.net_ns_id,
        NamespaceKind::Ipc => ids.ipc_ns_id,
        NamespaceKind::Uts => ids.uts_ns_id,
        NamespaceKind::Time => ids.time_ns_id,
        NamespaceKind::Mount => ids.mnt_ns_id,
        NamespaceKind::User => ids.user_ns_id,
        NamespaceKind::Cgroup => ids.cgroup_ns_id,
    }
}

/// The kinds of namespaces in which the root is apart from the supervisor.
pub(super) fn own(supervisor: &TaskKobjIdsEntry, root: &TaskKobjIdsEntry) -> Vec<NamespaceKind> {
    let differs = |kind: &NamespaceKind| id_of(supervisor, *kind) != id_of(root, *kind);
    NamespaceKind::ALL.into_iter().filter(differs).collect()
}

/// All processes must live where the root does.
pub(super) fn check_same(
    pid: NsPid,
    root: &TaskKobjIdsEntry,
    ids: &TaskKobjIdsEntry,
) -> Result<()> {
    let differs = |kind: &NamespaceKind| id_of(root, *kind) != id_of(ids, *kind);
    match NamespaceKind::ALL.into_iter().find(differs) {
        None => Ok(()),
        Some(kind) => Err(Error::unsupported(
            format!("process {pid}"),
            format!("it is in another {} namespace than the root of the tree", kind.proc_name()),
        )),
    }
}

/// Encodes the files of all namespaces that are the tree's own.
pub(super) fn encode(
    namespaces: &Namespaces,
    clocks: Option<&ClockReadings>,
    facts: &Facts,
    out: &mut Output,
) -> Result<()> {
    let id = |kind| namespace_id(namespaces, kind);
    let time_id = if namespaces.owns(NamespaceKind::Time) { id(NamespaceKind::Time) } else { 0 };
    if let Some(clocks) = clocks {
        out.single(format!("timens-{time_id}.img"), &encode_clocks(clocks));
    } else if namespaces.owns(NamespaceKind::Time) {
        return Err(lacks("time", "the clocks"));
    }
    for kind in namespaces.own.iter().copied() {
        let id = id(kind);
        match kind {
            NamespaceKind::Mount => mounts::encode(&namespaces.mounts, id, out)?,
            NamespaceKind::Uts => {
                let uts = namespaces.uts.as_ref().ok_or_else(|| lacks("UTS", "its names"))?;
                out.single(format!("utsns-{id}.img"), &encode_uts(uts));
            }
            NamespaceKind::Ipc => {
                let ipc = facts.ipc.as_ref().ok_or_else(|| lacks("IPC", "its sysctls"))?;
                out.single(format!("ipcns-var-{id}.img"), &facts::encode_ipc(ipc));
                system_v::encode(&namespaces.system_v, id, out)?;
            }
            NamespaceKind::User => {
                let maps = facts.id_maps.as_ref().ok_or_else(|| lacks("user", "its id maps"))?;
                out.single(format!("userns-{id}.img"), &facts::encode_id_maps(maps));
            }
            NamespaceKind::Net => {
                let netns =
                    NetnsEntry { ext_key: Some(NETWORK_KEY.to_vec()), ..Default::default() };
                out.single(format!("netns-{id}.img"), &netns);
            }
            NamespaceKind::Pid | NamespaceKind::Time | NamespaceKind::Cgroup => {}
        }
    }
    Ok(())
}

fn lacks(kind: &str, what: &str) -> Error {
    Error::unwritable(format!("the {kind} namespace"), format!("{what} are not known"))
}

/// Decodes what is known of the namespaces that are the tree's own.
pub(super) fn decode(
    input: Input,
    own: Vec<NamespaceKind>,
    root: &TaskKobjIdsEntry,
) -> Result<Namespaces> {
    let mut namespaces = Namespaces { own, ..Default::default() };
    for kind in namespaces.own.clone() {
        let id = id_of(root, kind).unwrap_or(0);
        match kind {
            NamespaceKind::Mount => namespaces.mounts = mounts::decode(input, id)?,
            NamespaceKind::Uts => namespaces.uts = Some(decode_uts(input, id)?),
            NamespaceKind::Ipc => namespaces.system_v = system_v::decode(input, id)?,
            NamespaceKind::Net => refuse_network(input, id)?,
            NamespaceKind::Pid
            | NamespaceKind::Time
            | NamespaceKind::User
            | NamespaceKind::Cgroup => {}
        }
    }
    Ok(namespaces)
}

/// Decodes the facts that come with the namespaces.
pub(super) fn decode_facts(
    input: Input,
    own: &[NamespaceKind],
    root: &TaskKobjIdsEntry,
    facts: &mut Facts,
) -> Result<()> {
    for kind in own.iter().copied() {
        let id = id_of(root, kind).unwrap_or(0);
        match kind {
            NamespaceKind::Ipc => {
                let name = format!("ipcns-var-{id}.img");
                let entry = input.need(&name, "the tree has an IPC namespace of its own")?;
                facts.ipc = Some(facts::decode_ipc(Place::new(&name, 1), &entry)?);
            }
            NamespaceKind::User => {
                let name = format!("userns-{id}.img");
                let entry: UsernsEntry =
                    input.need(&name, "the tree has a user namespace of its own")?;
                facts.id_maps = Some(facts::decode_id_maps(&entry));
            }
            NamespaceKind::Pid
            | NamespaceKind::Net
            | NamespaceKind::Uts
            | NamespaceKind::Time
            | NamespaceKind::Mount
            | NamespaceKind::Cgroup => {}
        }
    }
    Ok(())
}

fn refuse_network(input: Input, id: u32) -> Result<()> {
    let netns: Option<NetnsEntry> = input.first(&format!("netns-{id}.img"))?;
    match netns {
        Some(netns) if netns.ext_key.is_none() => Err(Error::unsupported(
            "the network namespace",
            "its devices are part of the checkpoint, only external ones can be restored",
        )),
        _ => Ok(()),
    }
}

fn encode_uts(uts: &UtsNames) -> UtsnsEntry {
    UtsnsEntry { nodename: uts.node.clone(), domainname: uts.domain.clone() }
}

fn decode_uts(input: Input, id: u32) -> Result<UtsNames> {
    let entry: UtsnsEntry =
        input.need(&format!("utsns-{id}.img"), "the tree has a UTS namespace of its own")?;
    Ok(UtsNames { node: entry.nodename, domain: entry.domainname })
}

fn encode_clocks(clocks: &ClockReadings) -> TimensEntry {
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    TimensEntry { monotonic: spec(clocks.monotonic), boottime: spec(clocks.boottime) }
}

/// Decodes the clocks; without the file they simply go on as the host's.
pub(super) fn decode_clocks(
    input: Input,
    own: &[NamespaceKind],
    root: &TaskKobjIdsEntry,
) -> Result<Option<ClockReadings>> {
    let owned = own.contains(&NamespaceKind::Time);
    let id = if owned { id_of(root, NamespaceKind::Time).unwrap_or(0) } else { 0 };
    let name = format!("timens-{id}.img");
    let Some(entry) = input.first::<TimensEntry>(&name)? else { return Ok(None) };
    let place = Place::new(&name, 1);
    let time = |field, spec: &Timespec| timers::time(place, field, spec.tv_sec, spec.tv_nsec);
    Ok(Some(ClockReadings {
        monotonic: time("monotonic", &entry.monotonic)?,
        boottime: time("boottime", &entry.boottime)?,
    }))
}
