//! A configuration is refused, or is the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stasis_oci::ImageConfig;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = ImageConfig::parse(bytes) {
        assert_eq!(ImageConfig::parse(&config.to_bytes()), Ok(config));
    }
});
