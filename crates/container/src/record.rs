//! The room `record` with the errors of this one.

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};
pub(crate) use stasis_record::{Lock, boot_id};

use crate::error::Result;

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(stasis_record::read(path)?)
}

pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    Ok(stasis_record::write(path, record)?)
}

pub(crate) fn write_bytes(path: &Path, contents: &[u8]) -> Result<()> {
    Ok(stasis_record::write_bytes(path, contents)?)
}

pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    Ok(stasis_record::sync_dir(dir)?)
}

pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    Ok(stasis_record::make_private_dir(dir)?)
}

pub(crate) fn remove_tree(dir: &Path) -> Result<()> {
    Ok(stasis_record::remove_tree(dir)?)
}
