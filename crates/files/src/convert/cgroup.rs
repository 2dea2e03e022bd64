//! Control groups.
//!
//! All threads of a tree that is written here are in the first set; a checkpoint of CRIU may have
//! others in other sets, of which only the sets themselves are kept.

use std::collections::BTreeSet;

use stasis_model::{Cgroup, CgroupSet, NamespaceKind, Namespaces};

use super::source::{Input, Output};
use crate::wire::cgroup::{
    CgControllerEntry, CgMemberEntry, CgSetEntry, CgroupDirEntry, CgroupEntry,
};

/// The set that stands for the supervisor's own control groups.
pub(super) fn supervisors_set(namespaces: &Namespaces) -> u32 {
    let used: BTreeSet<u32> = namespaces.cgroups.iter().map(|set| set.id).collect();
    (1..=u32::MAX).find(|id| !used.contains(id)).expect("fewer sets than numbers")
}

/// The set that all threads are in.
pub(super) fn trees_set(namespaces: &Namespaces) -> u32 {
    namespaces.cgroups.first().map_or_else(|| supervisors_set(namespaces), |set| set.id)
}

pub(super) fn encode(namespaces: &Namespaces, out: &mut Output) {
    if namespaces.cgroups.is_empty() {
        return;
    }
    let own_namespace = namespaces.owns(NamespaceKind::Cgroup);
    let entry = CgroupEntry {
        sets: namespaces.cgroups.iter().map(|set| encode_set(set, own_namespace)).collect(),
        controllers: encode_controllers(&namespaces.cgroups),
    };
    out.single("cgroup.img", &entry);
}

/// Decodes the sets, that of the root first.
pub(super) fn decode(input: Input, root_set: Option<u32>) -> crate::Result<Vec<CgroupSet>> {
    let Some(entry) = input.first::<CgroupEntry>("cgroup.img")? else { return Ok(Vec::new()) };
    let mut sets: Vec<CgroupSet> = entry.sets.iter().map(decode_set).collect();
    sets.sort_by_key(|set| Some(set.id) != root_set);
    Ok(sets)
}

fn encode_set(set: &CgroupSet, own_namespace: bool) -> CgSetEntry {
    let mut ctls: Vec<CgMemberEntry> = set
        .members
        .iter()
        .map(|member| CgMemberEntry {
            name: member.controllers.clone(),
            path: member.path.clone(),
            // The root of the tree sits at the root of its control group namespace.
            cgns_prefix: own_namespace.then_some(member.path.len() as u32),
        })
        .collect();
    ctls.sort_by(|a, b| a.name.cmp(&b.name));
    CgSetEntry { id: set.id, ctls }
}

fn decode_set(entry: &CgSetEntry) -> CgroupSet {
    let member =
        |ctl: &CgMemberEntry| Cgroup { controllers: ctl.name.clone(), path: ctl.path.clone() };
    CgroupSet { id: entry.id, members: entry.ctls.iter().map(member).collect() }
}

/// The directories that must exist, hierarchy by hierarchy.
fn encode_controllers(sets: &[CgroupSet]) -> Vec<CgControllerEntry> {
    let members: BTreeSet<(&[u8], &[u8])> = sets
        .iter()
        .flat_map(|set| &set.members)
        .map(|member| (member.controllers.as_slice(), member.path.as_slice()))
        .collect();
    let names: BTreeSet<&[u8]> = members.iter().map(|(name, _)| *name).collect();
    let dirs = |name: &[u8]| {
        let of_name = members.iter().filter(|(other, _)| *other == name);
        let relative = of_name.map(|(_, path)| path.strip_prefix(b"/").unwrap_or(path));
        let below_root = relative.filter(|path| !path.is_empty());
        below_root
            .map(|path| CgroupDirEntry { dir_name: path.to_vec(), ..Default::default() })
            .collect()
    };
    let controller = |name: &&[u8]| CgControllerEntry {
        cnames: name.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect(),
        dirs: dirs(name),
        is_threaded: None,
    };
    names.iter().map(controller).filter(|controller| !controller.dirs.is_empty()).collect()
}
