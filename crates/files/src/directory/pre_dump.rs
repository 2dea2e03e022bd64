//! Directories that hold memory alone, written while the tree runs.

use std::path::Path;

use super::open;
use crate::{
    Facts, Result,
    wire::{
        framing::{RecordWriter, Records},
        inventory::InventoryEntry,
        magic::format_of,
    },
};

pub(super) const INVENTORY: &str = "inventory.img";

/// Nobody restores from such a directory alone, says this version.
const MEMORY_ALONE: u32 = 0;

/// Pages were read from outside.
const READ: u32 = 2;

pub(super) fn inventory(facts: &Facts) -> Vec<u8> {
    let entry = InventoryEntry {
        img_version: MEMORY_ALONE,
        dump_uptime: facts.uptime_us,
        pre_dump_mode: Some(READ),
        dump_criu_run_id: facts.run_id.as_ref().map(|id| id.as_bytes().to_vec()),
        ..Default::default()
    };
    let mut written = RecordWriter::new(format_of(INVENTORY).expect("inventories have a format"));
    written.record(&entry);
    written.into_bytes()
}

/// Which round a directory is of, be it a whole checkpoint or memory alone; `None` if it does not say,
/// or there is none.
///
/// # Errors
/// [`crate::Error::Corrupt`], [`crate::Error::Io`]
pub fn round_of(dir: &Path) -> Result<Option<String>> {
    let Some(bytes) = open::read(dir, INVENTORY)? else { return Ok(None) };
    let format = format_of(INVENTORY).expect("inventories have a format");
    let entry: InventoryEntry = Records::open(INVENTORY, format, &bytes)?.single()?;
    Ok(entry.dump_criu_run_id.map(|id| String::from_utf8_lossy(&id).into_owned()))
}
