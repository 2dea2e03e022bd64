//! One checkpoint file of any kind: decoded, and what was understood encoded and decoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stasis_files::wire::{any::recode, framing::RecordWriter, magic};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let format = &magic::FORMATS[usize::from(*choice) % magic::FORMATS.len()];
    let number = if format.number == magic::Number::None { "" } else { "1" };
    let name = format!("{}{number}{}", format.prefix, format.suffix);
    let Some(format) = magic::format_of(&name) else { return };
    let mut file = RecordWriter::new(format);
    file.raw(bytes);
    if let Ok(Some(again)) = recode(&name, &file.into_bytes()) {
        assert_eq!(recode(&name, &again).unwrap().unwrap(), again);
    }
});
