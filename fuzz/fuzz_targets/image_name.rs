//! A name is refused, or means the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stasis_oci::{Platform, Reference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
        assert_eq!(reference.familiar().parse(), Ok(reference));
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse(), Ok(platform));
    }
});
