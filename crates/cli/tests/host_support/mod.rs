//! Checkpoints that say that they come from another host.

use std::{fs, path::Path};

const COMMON: u32 = 0x5456_4319;
const CPUINFO: u32 = 0x6140_4013;

/// Lets a checkpoint say that it was taken on a processor with every feature there could be.
pub fn of_a_wonderful_processor(images: &Path) {
    let mut entry = Vec::new();
    // Vendor, family, model, stepping, version of the list.
    for (field, value) in [(1, 1), (2, 6), (3, 85), (4, 4), (5, 2)] {
        number(&mut entry, field, value);
    }
    (0..19).for_each(|_| number(&mut entry, 6, u32::MAX));
    bytes(&mut entry, 7, b"Wonder");
    let mut message = Vec::new();
    bytes(&mut message, 1, &entry);
    let len = u32::try_from(message.len()).unwrap();
    let mut file = [COMMON, CPUINFO, len].map(u32::to_le_bytes).concat();
    file.extend(message);
    fs::write(images.join("cpuinfo.img"), file).unwrap();
}

fn number(out: &mut Vec<u8>, field: u32, value: u32) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, u32::try_from(value.len()).unwrap());
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
