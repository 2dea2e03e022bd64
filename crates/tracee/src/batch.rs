//! A list of system calls for a stopped thread, with the memory they need.

use stasis_sys::{Errno, Result as SysResult};

use crate::{
    error::{Error, Result},
    foothold::Slot,
    stub::{RECORD_BYTES, RECORD_WORDS, RESULT},
};

/// An argument of a remote call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    Value(u64),
    /// The address of bytes placed by [`Batch::bytes`] or [`Batch::space`].
    Data(Data),
    /// What an earlier call of the batch returned; each result can be used once.
    ResultOf(Call),
}

/// A call of the batch, to ask for its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(usize);

impl Call {
    /// Where its record lies in the slot, bytes.
    pub(crate) fn offset(self) -> u64 {
        (self.0 * RECORD_BYTES) as u64
    }
}

/// A piece of the batch's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    offset: usize,
    len: usize,
}

impl Data {
    /// The piece that starts `by` bytes further in.
    #[must_use]
    pub fn skip(self, by: usize) -> Data {
        assert!(by <= self.len, "beyond the end of the data");
        Data { offset: self.offset + by, len: self.len - by }
    }
}

macro_rules! arg_from {
    ($($number:ty),*) => { $(
        impl From<$number> for Arg {
            fn from(value: $number) -> Arg { Arg::Value(i64::from(value).cast_unsigned()) }
        }
    )* };
}
arg_from!(i32, u32, i64, u8, u16);

impl From<u64> for Arg {
    fn from(value: u64) -> Arg {
        Arg::Value(value)
    }
}

impl From<usize> for Arg {
    fn from(value: usize) -> Arg {
        Arg::Value(value as u64)
    }
}

impl From<Data> for Arg {
    fn from(data: Data) -> Arg {
        Arg::Data(data)
    }
}

impl From<Call> for Arg {
    fn from(call: Call) -> Arg {
        Arg::ResultOf(call)
    }
}

#[derive(Debug)]
struct Record {
    name: &'static str,
    number: i64,
    arguments: [Arg; 6],
    tolerant: bool,
}

/// Calls are executed in order; the first that fails ends the batch unless it is a tolerant one.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<Record>,
    data: Vec<u8>,
    /// Places in the data that hold the address of other data.
    pointers: Vec<(usize, Data)>,
}

impl Batch {
    pub fn new() -> Self {
        Batch::default()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes that the batch takes in a slot.
    pub fn len_bytes(&self) -> usize {
        self.records.len() * RECORD_BYTES + self.data.len() + 16
    }

    /// Adds a call that must succeed.
    pub fn call<const N: usize>(
        &mut self,
        name: &'static str,
        number: i64,
        arguments: [Arg; N],
    ) -> Call {
        self.push(name, number, arguments, false)
    }

    /// Adds a call that may fail.
    pub fn try_call<const N: usize>(
        &mut self,
        name: &'static str,
        number: i64,
        arguments: [Arg; N],
    ) -> Call {
        self.push(name, number, arguments, true)
    }

    /// Places bytes in the tracee's memory.
    pub fn bytes(&mut self, bytes: &[u8]) -> Data {
        let offset = self.data.len();
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        Data { offset, len: bytes.len() }
    }

    /// Places words in the tracee's memory.
    pub fn words(&mut self, words: &[u64]) -> Data {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.bytes(&bytes)
    }

    /// Room for an answer of `len` bytes, zeroed.
    pub fn space(&mut self, len: usize) -> Data {
        let offset = self.data.len();
        self.data.resize((offset + len).next_multiple_of(8), 0);
        Data { offset, len }
    }

    /// Sets word number `index` of a piece of data.
    pub fn word(&mut self, data: Data, index: usize, value: u64) {
        assert!((index + 1) * 8 <= data.len, "beyond the end of the data");
        self.data[data.offset + index * 8..][..8].copy_from_slice(&value.to_ne_bytes());
    }

    /// Makes word number `index` of a piece of data the address of another piece.
    pub fn pointer(&mut self, data: Data, index: usize, target: Data) {
        assert!((index + 1) * 8 <= data.len, "beyond the end of the data");
        self.pointers.push((data.offset + index * 8, target));
    }

    /// A NUL-terminated string.
    pub fn text(&mut self, text: &[u8]) -> Data {
        let terminated: Vec<u8> = text.iter().copied().chain([0]).collect();
        self.bytes(&terminated)
    }

    fn push<const N: usize>(
        &mut self,
        name: &'static str,
        number: i64,
        given: [Arg; N],
        tolerant: bool,
    ) -> Call {
        let mut arguments = [Arg::Value(0); 6];
        arguments[..N].copy_from_slice(&given);
        self.records.push(Record { name, number, arguments, tolerant });
        Call(self.records.len() - 1)
    }

    /// Bytes that are written into a slot and read back.
    pub(crate) fn encoded_len(&self) -> usize {
        self.records.len() * RECORD_BYTES + self.data.len()
    }

    /// Appends the bytes to put into the slot, records first; tells where the records end.
    pub(crate) fn encode(&self, pid: i32, slot: Slot, bytes: &mut Vec<u8>) -> Result<u64> {
        if self.len_bytes() > slot.len {
            let what = format!("a batch of {} bytes does not fit", self.len_bytes());
            return Err(Error::Bug { pid, what });
        }
        let records_len = self.records.len() * RECORD_BYTES;
        let data_at = slot.address + records_len as u64;
        let from = bytes.len();
        bytes.resize(from + records_len, 0);
        bytes.extend_from_slice(&self.data);
        let (records, data) = bytes[from..].split_at_mut(records_len);
        for (index, record) in self.records.iter().enumerate() {
            let base = index * RECORD_WORDS;
            put(records, base, record.number.cast_unsigned());
            put(records, base + 8, u64::from(record.tolerant));
            // A result that no call has: "was not reached".
            put(records, base + RESULT, UNREACHED);
            for (place, argument) in record.arguments.iter().enumerate() {
                let at = base + 1 + place;
                match argument {
                    Arg::Value(value) => put(records, at, *value),
                    Arg::Data(data) => put(records, at, data_at + data.offset as u64),
                    Arg::ResultOf(Call(earlier)) => {
                        put(records, earlier * RECORD_WORDS + 7, slot.address + at as u64 * 8);
                    }
                }
            }
        }
        for (place, target) in &self.pointers {
            let address = data_at + target.offset as u64;
            data[*place..][..8].copy_from_slice(&address.to_ne_bytes());
        }
        Ok(data_at)
    }

    /// Reads the results back out of the slot's bytes.
    pub(crate) fn outcome(&self, pid: i32, bytes: Vec<u8>) -> Outcome {
        let results = (0..self.records.len())
            .map(|index| {
                let at = index * RECORD_BYTES + RESULT * 8;
                u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
            })
            .collect();
        let calls = self.records.iter().map(|record| (record.name, record.tolerant)).collect();
        let data_offset = self.records.len() * RECORD_BYTES;
        Outcome { pid, calls, results, bytes, data_offset }
    }
}

const UNREACHED: u64 = 1 << 63;

fn put(records: &mut [u8], word: usize, value: u64) {
    records[word * 8..][..8].copy_from_slice(&value.to_ne_bytes());
}

/// What the calls of a batch returned.
#[derive(Debug)]
pub struct Outcome {
    pid: i32,
    calls: Vec<(&'static str, bool)>,
    results: Vec<u64>,
    bytes: Vec<u8>,
    data_offset: usize,
}

impl Outcome {
    /// Fails if a call failed that had to succeed.
    ///
    /// # Errors
    /// [`Error::Kernel`] naming the call.
    pub fn check(&self) -> Result<()> {
        for (result, (name, tolerant)) in self.results.iter().zip(&self.calls) {
            if let (Err(errno), false) = (Errno::check(result.cast_signed()), tolerant) {
                return Err(Error::Kernel { pid: self.pid, call: name, errno });
            }
            if *result == UNREACHED {
                let what = format!("{name} was not reached");
                return Err(Error::Bug { pid: self.pid, what });
            }
        }
        Ok(())
    }

    /// The return value of a call.
    pub fn result(&self, call: Call) -> SysResult<u64> {
        match self.results[call.0] {
            UNREACHED => Err(Errno(libc_ecanceled())),
            result => Errno::check(result.cast_signed()),
        }
    }

    /// What the call left in its record, a negative number if it failed.
    pub(crate) fn raw(&self, call: Call) -> i64 {
        self.results[call.0].cast_signed()
    }

    /// Notes the result of a call that has not returned yet.
    pub(crate) fn settle(&mut self, call: Call, result: i64) {
        self.results[call.0] = result.cast_unsigned();
    }

    /// Index of the call that ended the batch early, if one did.
    pub fn failed_at(&self) -> Option<usize> {
        self.results.iter().zip(&self.calls).position(|(result, (_, tolerant))| {
            *result == UNREACHED || (!tolerant && Errno::check(result.cast_signed()).is_err())
        })
    }

    /// Number of the call within its batch.
    pub fn index_of(call: Call) -> usize {
        call.0
    }

    /// The bytes of a piece of data as the calls left them.
    pub fn data(&self, data: Data) -> &[u8] {
        &self.bytes[self.data_offset + data.offset..][..data.len]
    }

    /// The word at index `index` of a piece of data.
    pub fn word(&self, data: Data, index: usize) -> u64 {
        let bytes = &self.data(data)[index * 8..index * 8 + 8];
        u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }

    /// The 32-bit number at index `index` of a piece of data.
    pub fn half(&self, data: Data, index: usize) -> u32 {
        let bytes = &self.data(data)[index * 4..index * 4 + 4];
        u32::from_ne_bytes(bytes.try_into().expect("four bytes"))
    }
}

const fn libc_ecanceled() -> i32 {
    125
}
