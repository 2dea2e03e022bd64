//! An archive is refused, or its members have paths below its root.
#![no_main]

use std::path::Component;

use libfuzzer_sys::fuzz_target;
use stasis_enclosure::tar::Reader;

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    let mut archive = Reader::new(&mut input);
    while let Ok(Some(entry)) = archive.next_entry() {
        assert!(entry.path.components().all(|part| matches!(part, Component::Normal(_))));
        if archive.copy(&mut std::io::sink()).is_err() {
            break;
        }
    }
});
