//! A list of pages: its runs ascend and end inside the address space.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stasis_files::{decode_pagemap, wire::framing::RecordWriter, wire::magic::format_of};

fuzz_target!(|bytes: &[u8]| {
    let name = "pagemap-1.img";
    let mut file = RecordWriter::new(format_of(name).unwrap());
    file.raw(bytes);
    let Ok((_, runs)) = decode_pagemap(name, &file.into_bytes()) else { return };
    let mut end = 0;
    for run in runs {
        assert!(run.run.start >= end && run.run.nr_pages > 0);
        end = run.run.end();
    }
});
