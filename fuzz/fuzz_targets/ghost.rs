//! The content of an unlinked file: its parts lie inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stasis_files::{ghost_chunks, wire::framing::RecordWriter, wire::magic::format_of};

fuzz_target!(|bytes: &[u8]| {
    let name = "ghost-file-1.img";
    let mut file = RecordWriter::new(format_of(name).unwrap());
    file.raw(bytes);
    let file = file.into_bytes();
    let len = file.len() as u64;
    for chunk in ghost_chunks(name, file.as_slice(), len).unwrap_or_default() {
        assert!(chunk.file_offset.checked_add(chunk.len).unwrap() <= len);
        assert!(chunk.offset.checked_add(chunk.len).is_some());
    }
});
