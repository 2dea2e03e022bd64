//! Checkpoints of CRIU for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use stasis_files::wire::{
    fdinfo::{FdinfoEntry, FileEntry},
    framing::{RecordWriter, Records},
    magic::format_of,
};

pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The kitchen sink without what cannot be restored: a netlink socket.
pub fn kitchen() -> tempfile::TempDir {
    const NETLINKSK: u32 = 13;
    fn filter<M: prost::Message + Default>(dir: &Path, name: &str, keep: impl Fn(&M) -> bool) {
        let format = format_of(name).unwrap();
        let bytes = fs::read(dir.join(name)).unwrap();
        let mut written = RecordWriter::new(format);
        for message in Records::open(name, format, &bytes).unwrap().all::<M>().unwrap() {
            if keep(&message) {
                written.record(&message);
            }
        }
        fs::write(dir.join(name), written.into_bytes()).unwrap();
    }
    let keep = |kind| kind != NETLINKSK;
    let dir = copy(&data("kitchen"));
    filter(dir.path(), "files.img", |entry: &FileEntry| keep(entry.r#type));
    for table in 2..=4 {
        let name = format!("fdinfo-{table}.img");
        filter(dir.path(), &name, |entry: &FdinfoEntry| keep(entry.r#type));
    }
    dir
}

pub fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
        }
    }
    to
}
