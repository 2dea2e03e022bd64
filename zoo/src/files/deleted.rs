//! A file that is open and deleted: contents, owner, mode, size; shared by two open descriptions.

use std::{fs, io::{Read, Seek, SeekFrom, Write}, os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown}};

use crate::prelude::*;

pub const GOAL: &str = "a deleted file keeps contents, owner, mode, and stays one file";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("deleted");
    let mut file = fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    let reader = fs::File::open(&path)?;
    file.write_all(&b"0123456789".repeat(2000))?;
    fchown(&file, Some(1234), Some(5678))?;
    file.set_permissions(fs::Permissions::from_mode(0o640))?;
    fs::remove_file(&path)?;
    file.seek(SeekFrom::Start(15))?;
    let look = || -> anyhow::Result<Vec<String>> {
        let m = file.metadata()?;
        let facts = (m.mode(), m.uid(), m.gid(), m.len(), m.nlink());
        // Checkpoint files keep times in microseconds.
        let modified = m.modified()?.duration_since(std::time::UNIX_EPOCH)?.as_micros();
        Ok(vec![format!("{facts:?}"), modified.to_string()])
    };
    super::keep(stage, look)?;
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    ensure!(rest.len() == 19_985 && rest.starts_with("56789"), "{} bytes left", rest.len());
    file.write_all_at(b"NEW", 3)?;
    let mut bytes = [0; 3];
    reader.read_exact_at(&mut bytes, 3)?;
    ensure!(&bytes == b"NEW", "two open files of one deleted file are apart now");
    ensure!(!path.exists(), "the deleted file has its name again");
    Ok(())
}
