//! Finds required fields that a message lacks.
//!
//! The decoder takes zero for them, which would make of a damaged checkpoint a wrong one. What was
//! decoded is encoded again and compared: a field that is in the second and not in the first encoding
//! was made up. Fields that differ can only be messages themselves, and are compared in the same way.

use std::{collections::BTreeMap, fmt};

use super::varint;

/// Numbers of the fields that lead to the one that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MissingField(Vec<u64>);

impl fmt::Display for MissingField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u64::to_string).collect();
        write!(f, "lacks field number {}", numbers.join("."))
    }
}

/// Compares a message with what its decoded form is encoded as.
pub(super) fn check(original: &[u8], again: &[u8]) -> Result<(), MissingField> {
    if original == again {
        return Ok(());
    }
    // What cannot be cut into fields is not understood here; the decoder had its say.
    let (Some(original), Some(again)) = (fields(original), fields(again)) else { return Ok(()) };
    for (number, again) in &again {
        let Some(original) = original.get(number) else {
            return Err(MissingField(vec![*number]));
        };
        // A field that occurs more often than it may was merged into one.
        if original.len() == again.len() {
            for (original, again) in original.iter().zip(again) {
                check(original, again).map_err(|missing| missing.below(*number))?;
            }
        }
    }
    Ok(())
}

impl MissingField {
    fn below(mut self, number: u64) -> Self {
        self.0.insert(0, number);
        self
    }
}

/// The fields of a message by number; the contents of those that have a length, nothing for numbers.
fn fields(mut bytes: &[u8]) -> Option<BTreeMap<u64, Vec<&[u8]>>> {
    let mut fields: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint::take(&mut bytes)?;
        let content = match key & 7 {
            0 => varint::take(&mut bytes).map(|_| &[][..])?,
            1 => take(&mut bytes, 8).map(|_| &[][..])?,
            2 => {
                let len = varint::take(&mut bytes)?;
                take(&mut bytes, len)?
            }
            5 => take(&mut bytes, 4).map(|_| &[][..])?,
            _ => return None,
        };
        fields.entry(key >> 3).or_default().push(content);
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use crate::wire::{
        fown::FownEntry,
        fs::FsEntry,
        pipe::{FifoEntry, PipeEntry},
        remap::GhostFileEntry,
        seccomp::{SeccompEntry, SeccompFilter},
    };

    fn check<M: Message + Default>(bytes: &[u8], expect: Option<&str>) {
        let again = M::decode(bytes).unwrap().encode_to_vec();
        let missing = super::check(bytes, &again).err().map(|missing| missing.to_string());
        assert_eq!(missing.as_deref(), expect);
    }

    #[test]
    fn what_is_optional_may_be_missing() {
        check::<FsEntry>(&FsEntry::default().encode_to_vec(), None);
        check::<GhostFileEntry>(&GhostFileEntry::default().encode_to_vec(), None);
    }

    #[test]
    fn what_is_required_may_not() {
        let only_root = [2 << 3, 7];
        check::<FsEntry>(&only_root, Some("lacks field number 1"));
        check::<FsEntry>(&[], Some("lacks field number 1"));
    }

    #[test]
    fn fields_inside_fields_are_looked_at() {
        let fown = FownEntry { pid: 5, ..Default::default() };
        let mut pipe = PipeEntry { fown, ..Default::default() }.encode_to_vec();
        check::<PipeEntry>(&pipe, None);
        // The last field inside the last field is the pid; make it one that is not known.
        let key = pipe.len() - 2;
        pipe[key] = 15 << 3;
        check::<PipeEntry>(&pipe, Some("lacks field number 4.5"));
    }

    #[test]
    fn unknown_fields_and_long_numbers_are_no_matter() {
        let mut fifo = FifoEntry::default().encode_to_vec();
        fifo.extend([12 << 3, 1]);
        check::<FifoEntry>(&fifo, None);
        check::<FifoEntry>(&[8, 0x80, 0, 16, 0x81, 0x80, 0], None);
    }

    #[test]
    fn bytes_are_no_messages() {
        let filter = SeccompFilter { filter: vec![8, 1, 2, 3], ..Default::default() };
        let mut bytes = SeccompEntry { seccomp_filters: vec![filter] }.encode_to_vec();
        bytes.extend([12 << 3, 1]);
        check::<SeccompEntry>(&bytes, None);
    }
}
