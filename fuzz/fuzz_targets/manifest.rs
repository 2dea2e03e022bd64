//! A manifest or index is refused, or is the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stasis_oci::{Document, Index, Manifest};

fuzz_target!(|bytes: &[u8]| match Document::parse(bytes) {
    Ok(Document::Manifest(manifest)) => {
        assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
    }
    Ok(Document::Index(index)) => assert_eq!(Index::parse(&index.to_bytes()), Ok(index)),
    Err(_) => {}
});
