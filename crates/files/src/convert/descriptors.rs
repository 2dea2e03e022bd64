//! Tables of descriptors.

use std::collections::BTreeMap;

use stasis_model::{Descriptor, DescriptorTable, FdNumber, FileId, OpenFile, TableId, Tree};

use super::{
    open_file::type_of,
    source::{Input, Output},
};
use crate::{Result, error::Place, wire::fdinfo::FdinfoEntry};

const CLOSE_ON_EXEC: u32 = 1;

pub(super) fn encode(tree: &Tree, out: &mut Output) {
    for (id, table) in &tree.tables {
        let entries = table.descriptors.iter().map(|(fd, descriptor)| FdinfoEntry {
            id: descriptor.file.0,
            flags: if descriptor.close_on_exec { CLOSE_ON_EXEC } else { 0 },
            r#type: type_of(&tree.files[&descriptor.file].kind),
            fd: fd.0.cast_unsigned(),
            xattr_security_selinux: None,
        });
        out.all(file_name(*id), &entries.collect::<Vec<_>>());
    }
}

fn file_name(table: TableId) -> String {
    format!("fdinfo-{table}.img")
}

/// A table with the kind that is claimed for each file.
pub(super) struct Table {
    pub table: DescriptorTable,
    /// Of each descriptor, with the number of its record.
    types: BTreeMap<FdNumber, (u32, usize)>,
}

pub(super) fn decode(input: Input, id: TableId) -> Result<Table> {
    let name = file_name(id);
    let entries: Vec<FdinfoEntry> = input.all(&name)?;
    let mut table = Table { table: DescriptorTable::default(), types: BTreeMap::new() };
    for (index, entry) in entries.iter().enumerate() {
        let place = Place::new(&name, index + 1);
        let fd = i32::try_from(entry.fd);
        let fd = FdNumber(fd.map_err(|_| place.field("fd", "is no descriptor"))?);
        let close_on_exec = entry.flags & CLOSE_ON_EXEC != 0;
        let descriptor = Descriptor { file: FileId(entry.id), close_on_exec };
        if table.table.descriptors.insert(fd, descriptor).is_some() {
            return Err(place.field("fd", format!("{fd} occurs twice")));
        }
        table.types.insert(fd, (entry.r#type, place.record));
    }
    Ok(table)
}

/// Checks that files are of the kind the table says.
pub(super) fn check_types(
    id: TableId,
    table: &Table,
    files: &BTreeMap<FileId, OpenFile>,
) -> Result<()> {
    for (fd, descriptor) in &table.table.descriptors {
        let (claimed, record) = table.types[fd];
        let file = files.get(&descriptor.file);
        if file.is_some_and(|file| type_of(&file.kind) != claimed) {
            let name = file_name(id);
            let reason = format!("file {} is of another kind", descriptor.file);
            return Err(Place::new(&name, record).field("type", reason));
        }
    }
    Ok(())
}
