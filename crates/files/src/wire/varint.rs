//! Numbers as they lie in messages: seven bits in a byte, the lowest first.

/// Takes the number at the beginning; `None` if it is cut short or has more than 64 bits.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            let has_room = shift < 63 || *byte <= 1;
            return has_room.then_some(value);
        }
    }
    None
}

/// Appends a number.
pub(super) fn put(mut value: u64, bytes: &mut Vec<u8>) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
