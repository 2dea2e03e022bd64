//! Memory of a stopped task, read and written whole: what the kernel leaves out in the middle is a failure.

use stasis_sys::{
    Errno, Result as SysResult,
    memory::{self, MAX_RANGES, RemoteRange},
};

use crate::error::{Error, Result};

/// An address and what is to be written there.
pub type Piece = (u64, Vec<u8>);

pub(crate) fn read(pid: i32, address: u64, len: usize) -> Result<Vec<u8>> {
    read_ranges(pid, &[RemoteRange { address, len }])
}

/// The bytes of all ranges, one after the other.
pub(crate) fn read_ranges(pid: i32, ranges: &[RemoteRange]) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len_of(ranges)];
    let mut rest = bytes.as_mut_slice();
    for ranges in ranges.chunks(MAX_RANGES) {
        let (some, others) = rest.split_at_mut(len_of(ranges));
        rest = others;
        let len = some.len();
        whole((pid, "process_vm_readv"), memory::read(pid, ranges, some), len)?;
    }
    Ok(bytes)
}

pub(crate) fn write(pid: i32, address: u64, bytes: &[u8]) -> Result<()> {
    write_ranges(pid, &[RemoteRange { address, len: bytes.len() }], bytes)
}

/// Writes to the ranges one after the other; those behind one that cannot be written are not.
pub(crate) fn write_ranges(pid: i32, ranges: &[RemoteRange], mut bytes: &[u8]) -> Result<()> {
    for ranges in ranges.chunks(MAX_RANGES) {
        let (some, others) = bytes.split_at(len_of(ranges));
        bytes = others;
        whole((pid, "process_vm_writev"), memory::write(pid, ranges, some), some.len())?;
    }
    Ok(())
}

/// The same for pieces that lie apart here as well.
pub(crate) fn write_pieces(pid: i32, pieces: &[Piece]) -> Result<()> {
    let range = |(address, bytes): &Piece| RemoteRange { address: *address, len: bytes.len() };
    let ranges: Vec<RemoteRange> = pieces.iter().map(range).collect();
    let bytes: Vec<u8> = pieces.iter().flat_map(|(_, bytes)| bytes).copied().collect();
    write_ranges(pid, &ranges, &bytes)
}

/// Writes what can be written.
pub(crate) fn try_pieces(pid: i32, pieces: &[Piece]) {
    if write_pieces(pid, pieces).is_err() {
        for (address, bytes) in pieces {
            let _ = write(pid, *address, bytes);
        }
    }
}

/// How many bytes they have together.
pub(crate) fn len_of(ranges: &[RemoteRange]) -> usize {
    ranges.iter().map(|range| range.len).sum()
}

fn whole((pid, call): (i32, &'static str), done: SysResult<usize>, wanted: usize) -> Result<()> {
    match done {
        Ok(done) if done == wanted => Ok(()),
        Ok(_) => Err(Error::Kernel { pid, call, errno: Errno::FAULT }),
        Err(errno) => Err(Error::Kernel { pid, call, errno }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_is_read_and_written_whole() {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let target = vec![0u8; 4 * (MAX_RANGES + 1)];
        let address = target.as_ptr().addr() as u64;
        let place = |index: u64| address + 4 * index;
        let pieces: Vec<Piece> =
            (0..=MAX_RANGES as u64).map(|index| (place(index), vec![index as u8, 1])).collect();
        write_pieces(pid, &pieces).unwrap();
        let ranges: Vec<RemoteRange> = (0..=MAX_RANGES as u64)
            .map(|index| RemoteRange { address: place(index), len: 2 })
            .collect();
        let bytes = read_ranges(pid, &ranges).unwrap();
        assert_eq!(bytes[2 * MAX_RANGES..], [MAX_RANGES as u8, 1]);
        assert_eq!(read(pid, address, 4).unwrap(), [0, 1, 0, 0]);
        drop(target);
    }

    #[test]
    fn what_is_not_there_is_a_failure() {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let target = Box::new([0u8; 4]);
        let address = target.as_ptr().addr() as u64;
        assert!(read(pid, 8, 4).is_err());
        assert!(write_pieces(pid, &[(8, vec![1]), (address, vec![1])]).is_err());
        try_pieces(pid, &[(8, vec![1]), (address, vec![1])]);
        assert_eq!(read(pid, address, 1).unwrap(), [1]);
    }
}
