//! The inventory.

use std::collections::BTreeSet;

use stasis_model::{FileKind, NamespaceKind, TableId, Tree};

use super::{
    Facts, cgroup,
    facts::SecurityModule,
    namespaces,
    source::{Input, Output},
};
use crate::{
    Error, Result,
    error::Place,
    wire::{
        inventory::{InventoryEntry, PluginsEntry},
        pstree::TaskKobjIdsEntry,
    },
};

const FILE: &str = "inventory.img";

/// The version that is written; version 1 differs only in the headers of files.
const VERSION: u32 = 2;
const OLD_VERSION: u32 = 1;

/// The version in the inventory of a pre-dump, which holds memory alone.
const PRE_DUMP: u32 = 0;

/// Connections are locked by a table of nftables that is found by the run id.
const LOCKED_BY_NFTABLES: u32 = 1;
/// Connections were not locked by packet filters, so nothing is to be unlocked.
const NETWORK_NOT_LOCKED: u32 = 2;

pub(super) fn encode(tree: &Tree, facts: &Facts, out: &mut Output) {
    let ids = TaskKobjIdsEntry {
        vm_id: 1,
        files_id: supervisors_table(tree).0,
        fs_id: 1,
        sighand_id: 1,
        ..Default::default()
    };
    let entry = InventoryEntry {
        img_version: VERSION,
        fdinfo_per_id: Some(true),
        root_ids: Some(namespaces::encode_ids(None, ids)),
        ns_per_id: Some(true),
        root_cg_set: Some(cgroup::supervisors_set(&tree.namespaces)),
        tcp_close: has_closed_connections(tree).then_some(true),
        lsmtype: Some(facts.security_module.number()),
        dump_uptime: facts.uptime_us,
        network_lock_method: Some(match facts.run_id {
            Some(_) => LOCKED_BY_NFTABLES,
            None => NETWORK_NOT_LOCKED,
        }),
        plugins_entry: Some(PluginsEntry::default()),
        dump_criu_run_id: facts.run_id.as_ref().map(|id| id.as_bytes().to_vec()),
        ..Default::default()
    };
    out.single(FILE, &entry);
}

fn has_closed_connections(tree: &Tree) -> bool {
    tree.files.values().any(|file| match &file.kind {
        FileKind::Inet(socket) => socket.is_connection() && socket.connection.is_none(),
        _ => false,
    })
}

/// A table that no process of the tree has.
fn supervisors_table(tree: &Tree) -> TableId {
    let used: BTreeSet<TableId> = tree.tables.keys().copied().collect();
    let mut free = (1..=u32::MAX).map(TableId).filter(|id| !used.contains(id));
    free.next().expect("fewer tables than numbers")
}

/// What of the inventory matters for reading the rest.
pub(super) struct Inventory {
    pub supervisor: TaskKobjIdsEntry,
    pub tcp_close: bool,
    pub facts: Facts,
}

pub(super) fn decode(input: Input) -> Result<Inventory> {
    let entry: InventoryEntry = input.need(FILE, "every checkpoint has one")?;
    let place = Place::new(FILE, 1);
    check_version(place, &entry)?;
    if let Some(plugin) = entry.plugins_entry.iter().flat_map(|entry| &entry.plugins).next() {
        let object = format!("plugin {}", String::from_utf8_lossy(plugin));
        return Err(Error::unsupported(object, "plugins of CRIU took part in the checkpoint"));
    }
    let run_id = entry.dump_criu_run_id.map(|id| String::from_utf8_lossy(&id).into_owned());
    let number = entry.lsmtype.unwrap_or(0);
    Ok(Inventory {
        supervisor: place.need(entry.root_ids, "root_ids")?,
        tcp_close: entry.tcp_close == Some(true),
        facts: Facts {
            run_id,
            uptime_us: entry.dump_uptime,
            security_module: SecurityModule::from_number(place, number)?,
            ipc: None,
            id_maps: None,
            processor: None,
        },
    })
}

fn check_version(place: Place, entry: &InventoryEntry) -> Result<()> {
    match entry.img_version {
        VERSION | OLD_VERSION => {}
        PRE_DUMP => {
            let reason = "it holds memory alone, the checkpoint proper is elsewhere";
            return Err(Error::unsupported("a pre-dump", reason));
        }
        other => {
            let reason = format!("version {other} of the format is not known");
            return Err(Error::unsupported("the checkpoint", reason));
        }
    }
    if entry.fdinfo_per_id == Some(true) {
        Ok(())
    } else {
        Err(place.field("fdinfo_per_id", "is not set, the checkpoint is too old"))
    }
}

/// Decodes the facts, which lie in the inventory and in the files of namespaces.
pub(super) fn decode_facts(
    input: Input,
    inventory: Inventory,
    own: &[NamespaceKind],
    root: &TaskKobjIdsEntry,
) -> Result<Facts> {
    let mut facts = inventory.facts;
    namespaces::decode_facts(input, own, root, &mut facts)?;
    Ok(facts)
}
