//! The floating-point part of a thread's core.
//!
//! It is the largest part of most checkpoints of many threads: some hundred words, each of them a field of its own,
//! messages inside messages. So it is written in one go here, and read in one go if it has the shape in which it is
//! written: fields in the order of their numbers, all that are required. Whatever else may stand there is left to the
//! general decoder.

use super::{
    framing, varint,
    x86::{UserX86FpregsEntry, UserX86XsaveEntry},
};

/// Decodes the message; a reason in words if it is none, or lacks what it must have.
pub fn decode(bytes: &[u8]) -> Result<UserX86FpregsEntry, String> {
    Fields(bytes).fpregs().map_or_else(|| framing::decode(bytes), Ok)
}

/// Encodes the message.
pub fn encode(entry: &UserX86FpregsEntry) -> Vec<u8> {
    /// Most of the words are zero.
    const USUAL: usize = 2 << 10;
    let e = entry;
    let mut bytes = Vec::with_capacity(USUAL);
    let first = [e.cwd, e.swd, e.twd, e.fop];
    for (number, value) in (1..).zip(first) {
        put(number, value.into(), &mut bytes);
    }
    put(5, e.rip, &mut bytes);
    put(6, e.rdp, &mut bytes);
    put(7, e.mxcsr.into(), &mut bytes);
    put(8, e.mxcsr_mask.into(), &mut bytes);
    put_all(9, &e.st_space, &mut bytes);
    put_all(10, &e.xmm_space, &mut bytes);
    put_all(11, &e.padding, &mut bytes);
    if let Some(xsave) = &e.xsave {
        put_message(13, &encode_xsave(xsave), &mut bytes);
    }
    bytes
}

fn encode_xsave(entry: &UserX86XsaveEntry) -> Vec<u8> {
    const USUAL: usize = 1 << 10;
    let e = entry;
    let mut bytes = Vec::with_capacity(USUAL);
    put(1, e.xstate_bv, &mut bytes);
    put_all(2, &e.ymmh_space, &mut bytes);
    put_all(3, &e.bndreg_state, &mut bytes);
    put_all(4, &e.bndcsr_state, &mut bytes);
    put_all(5, &e.opmask_reg, &mut bytes);
    put_all(6, &e.zmm_upper, &mut bytes);
    put_all(7, &e.hi16_zmm, &mut bytes);
    put_all(8, &e.pkru, &mut bytes);
    if let Some(cet) = &e.cet {
        let mut shadow_stack = Vec::new();
        put(1, cet.cet, &mut shadow_stack);
        put(2, cet.ssp, &mut shadow_stack);
        put_message(9, &shadow_stack, &mut bytes);
    }
    bytes
}

const VARINT: u8 = 0;
const WITH_LENGTH: u8 = 2;

/// The key of a field whose number is less than 16.
const fn key(number: u8, kind: u8) -> u8 {
    number << 3 | kind
}

fn put(number: u8, value: u64, bytes: &mut Vec<u8>) {
    bytes.push(key(number, VARINT));
    varint::put(value, bytes);
}

fn put_all<T: Copy + Into<u64>>(number: u8, values: &[T], bytes: &mut Vec<u8>) {
    values.iter().for_each(|value| put(number, (*value).into(), bytes));
}

fn put_message(number: u8, message: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(key(number, WITH_LENGTH));
    varint::put(message.len() as u64, bytes);
    bytes.extend_from_slice(message);
}

/// Fields that are expected in a certain order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn fpregs(mut self) -> Option<UserX86FpregsEntry> {
        let entry = UserX86FpregsEntry {
            cwd: self.one(1)?,
            swd: self.one(2)?,
            twd: self.one(3)?,
            fop: self.one(4)?,
            rip: self.one(5)?,
            rdp: self.one(6)?,
            mxcsr: self.one(7)?,
            mxcsr_mask: self.one(8)?,
            st_space: self.all(9, 32)?,
            xmm_space: self.all(10, 64)?,
            padding: self.all(11, 0)?,
            xsave: match self.message(13) {
                Some(xsave) => Some(xsave?.xsave()?),
                None => None,
            },
        };
        self.0.is_empty().then_some(entry)
    }

    fn xsave(mut self) -> Option<UserX86XsaveEntry> {
        let entry = UserX86XsaveEntry {
            xstate_bv: self.one(1)?,
            ymmh_space: self.all(2, 64)?,
            bndreg_state: self.all(3, 8)?,
            bndcsr_state: self.all(4, 8)?,
            opmask_reg: self.all(5, 8)?,
            zmm_upper: self.all(6, 64)?,
            hi16_zmm: self.all(7, 128)?,
            pkru: self.all(8, 2)?,
            cet: None,
        };
        self.0.is_empty().then_some(entry)
    }

    /// The value of the next field, if it has this number.
    fn one<T: TryFrom<u64>>(&mut self, number: u8) -> Option<T> {
        self.has(key(number, VARINT)).then_some(())?;
        T::try_from(varint::take(&mut self.0)?).ok()
    }

    /// The values of all that follow with this number, as a rule `usual` ones or none.
    fn all<T: TryFrom<u64>>(&mut self, number: u8, usual: usize) -> Option<Vec<T>> {
        let mut values = Vec::new();
        while self.has(key(number, VARINT)) {
            if values.is_empty() {
                values.reserve_exact(usual);
            }
            values.push(T::try_from(varint::take(&mut self.0)?).ok()?);
        }
        Some(values)
    }

    /// The message that comes next, if it has this number; it may be cut short.
    fn message(&mut self, number: u8) -> Option<Option<Fields<'a>>> {
        self.has(key(number, WITH_LENGTH)).then(|| {
            let len = usize::try_from(varint::take(&mut self.0)?).ok()?;
            let (message, rest) = self.0.split_at_checked(len)?;
            self.0 = rest;
            Some(Fields(message))
        })
    }

    fn has(&mut self, key: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == key => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};
    use prost::Message;

    use super::*;
    use crate::wire::x86::UserX86CetEntry;

    fn words<T: Arbitrary + From<u8>>(most: usize) -> impl Strategy<Value = Vec<T>> {
        vec(prop_oneof![any::<u8>().prop_map(T::from), any::<T>()], 0..=most)
    }

    prop_compose! {
        fn xsave()(
            xstate_bv: u64,
            ymmh_space in words(64),
            bound in (words(8), words(8)),
            opmask_reg in words(8),
            zmm_upper in words(64),
            hi16_zmm in words(128),
            pkru in words(2),
            cet in option::weighted(0.1, any::<(u64, u64)>()),
        ) -> UserX86XsaveEntry {
            UserX86XsaveEntry {
                xstate_bv,
                ymmh_space,
                bndreg_state: bound.0,
                bndcsr_state: bound.1,
                opmask_reg,
                zmm_upper,
                hi16_zmm,
                pkru,
                cet: cet.map(|(cet, ssp)| UserX86CetEntry { cet, ssp }),
            }
        }
    }

    prop_compose! {
        fn fpregs()(
            (cwd, swd, twd, fop, mxcsr, mxcsr_mask) in any::<(u32, u32, u32, u32, u32, u32)>(),
            (rip, rdp) in any::<(u64, u64)>(),
            st_space in words(32),
            xmm_space in words(64),
            padding in words(1),
            xsave in option::of(xsave()),
        ) -> UserX86FpregsEntry {
            UserX86FpregsEntry {
                cwd, swd, twd, fop, rip, rdp, mxcsr, mxcsr_mask, st_space, xmm_space, padding, xsave,
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_general_encoder_makes(entry in fpregs()) {
            let bytes = encode(&entry);
            prop_assert_eq!(&bytes, &entry.encode_to_vec());
            let has_shadow_stack = entry.xsave.as_ref().is_some_and(|xsave| xsave.cet.is_some());
            prop_assert_eq!(Fields(&bytes).fpregs().is_none(), has_shadow_stack);
            prop_assert_eq!(decode(&bytes), Ok(entry));
        }

        #[test]
        fn damaged_bytes_are_what_the_general_decoder_takes_them_for(
            entry in fpregs(),
            damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            end: prop::sample::Index,
        ) {
            let mut bytes = encode(&entry);
            bytes.truncate(end.index(2 * bytes.len()));
            for (at, value) in damage.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            prop_assert_eq!(decode(&bytes), framing::decode(&bytes));
        }
    }
}
