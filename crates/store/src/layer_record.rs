//! What is known of an unpacked layer, and whether it is on disk.
//!
//! A layer gets its name before it is on disk: to wait for the disk takes as long as unpacking. Until it
//! is there its record names the boot that wrote it. As long as that one lasts the kernel has every byte;
//! after it nobody knows, and the layer is unpacked anew from its blob, which is on disk.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use stasis_oci::Digest;

use crate::{
    disk,
    error::{Context, Result},
};

/// Holds the directory tree of an unpacked layer.
pub(crate) const FS: &str = "fs";
const RECORD: &str = "layer.json";
/// By then the kernel has written everything back by itself (`vm.dirty_expire_centisecs`, the kernel's
/// admin-guide/sysctl/vm), so that to wait for it takes next to no time.
const WRITTEN_BACK_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub diff_id: Digest,
    pub below: Option<String>,
    pub size_bytes: u64,
    /// The boot that wrote the layer, until it is known to be on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

/// How a layer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not unpacked, or an earlier boot has ended before all of it was surely on disk.
    Absent,
    /// It is whole as long as this boot lasts.
    InMemory(Age),
    OnDisk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    /// Old enough for the kernel to have written it back.
    WrittenBack,
}

impl LayerRecord {
    /// Writes the record of a layer that has no name yet.
    pub fn write_new(&self, layer: &Path) -> Result<()> {
        disk::write_new(&layer.join(RECORD), self)
    }

    /// Notes that everything is on disk. Should the note itself get lost, the layer is unpacked anew.
    pub fn settle(self, layer: &Path) -> Result<()> {
        disk::replace_in_memory(&layer.join(RECORD), &LayerRecord { boot: None, ..self })
    }

    /// Whether what it says still holds.
    pub fn is_trusted(&self) -> bool {
        self.boot.is_none() || self.is_of_this_boot()
    }

    /// A kernel that does not tell which boot this is could be any.
    fn is_of_this_boot(&self) -> bool {
        let now = stasis_record::boot_id();
        !now.is_empty() && self.boot.as_ref() == Some(&now)
    }

    /// `None` if there is no layer of this name, or what the end of an earlier boot has left of one.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] if it is the record of nothing.
    pub fn read(layer: &Path) -> Result<Option<LayerRecord>> {
        let path = layer.join(RECORD);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // What a file looks like of which the kernel had written no more than the name or the length.
            Ok(text) if text.iter().all(|byte| *byte == 0) => Ok(None),
            Ok(text) => disk::record_of(&path, &text).map(Some),
            Err(error) => Err(error).context("read", path.display()),
        }
    }
}

impl Standing {
    /// Looks at a layer; one whose record is damaged is as good as none.
    pub fn probe(layer: &Path) -> Standing {
        let Ok(Some(record)) = LayerRecord::read(layer) else { return Standing::Absent };
        match record.boot {
            _ if !layer.join(FS).is_dir() => Standing::Absent,
            None => Standing::OnDisk,
            Some(_) if record.is_of_this_boot() => Standing::InMemory(age(layer)),
            Some(_) => Standing::Absent,
        }
    }
}

/// A clock that was set back makes nothing old.
fn age(layer: &Path) -> Age {
    let modified = fs::metadata(layer.join(RECORD)).and_then(|meta| meta.modified());
    let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    if age.is_some_and(|age| age > WRITTEN_BACK_AFTER) { Age::WrittenBack } else { Age::Fresh }
}
