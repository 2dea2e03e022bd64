//! How a patient goes on by itself if the supervisor dies in the middle of a single call, before there is
//! a foothold or after it is gone.
//!
//! The call is made at a `syscall` instruction of the vDSO that is followed by a `ret`. The stack pointer
//! leads to memory below the red zone of the thread's stack, where the address of the C library's own
//! rt_sigreturn(2) trampoline lies, and then a frame of the thread's context. Whatever the call returns,
//! the thread then finds its way back by itself.

use std::{
    cell::RefCell,
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use memchr::memmem;
use stasis_proctext::maps::Mapping;
use stasis_sys::ptrace::UserRegs;

use crate::{
    affinity::{Affinity, SET_LEN},
    sigframe,
};

/// Where trampolines lie in mapped files, by device, inode and offset: found once for all processes.
pub(crate) type Trampolines = Rc<RefCell<HashMap<((u32, u32), u64, u64), Option<u64>>>>;

/// `mov rax, 15; syscall`, as C libraries have it.
const TRAMPOLINE: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05];

/// Below the red zone and what else may be noted there.
const DISTANCE: u64 = 128 + 512;

/// What is to be written, and with which registers a single call is made.
pub(crate) struct WayBack {
    pub bytes: Vec<u8>,
    /// Where they go, and the stack pointer for the call.
    pub sp: u64,
}

/// Offset of a `syscall` that is followed by nothing but clearing of registers and `ret`.
pub(crate) fn returning_syscall(vdso: &[u8]) -> Option<usize> {
    let candidates = vdso.windows(2).enumerate().filter(|(_, pair)| *pair == [0x0f, 0x05]);
    candidates.map(|(at, _)| at).find(|at| returns(&vdso[at + 2..]))
}

fn returns(mut code: &[u8]) -> bool {
    loop {
        code = match code {
            [0xc3, ..] => return true,
            // xor of a register with itself
            [0x31, operands, rest @ ..] | [0x45, 0x31, operands, rest @ ..]
                if operands & 0xc0 == 0xc0 && operands >> 3 & 7 == operands & 7 =>
            {
                rest
            }
            _ => return false,
        };
    }
}

/// The code that a way back leads through.
#[derive(Clone, Copy)]
pub(crate) struct Code {
    /// A `syscall` that is followed by a `ret`.
    pub call: u64,
    /// Calls rt_sigreturn(2).
    pub trampoline: u64,
}

/// Builds the way back of a thread with these registers; `None` if its stack is not the process's own
/// one, so that nobody can tell what lies below it.
///
/// A thread that is kept on our processor takes back its own on the way: it returns to a frame that makes
/// that call, and from there to the frame of its context.
pub(crate) fn build(
    maps: &[Mapping],
    (regs, mask, xsave): (&UserRegs, u64, &[u8]),
    code: Code,
    affinity: Option<&Affinity>,
) -> Option<WayBack> {
    let stack = maps.iter().find(|map| map.name == b"[stack]" && map.range.contains(&regs.sp))?;
    let restarted = sigframe::restarted(regs);
    let below = regs.sp.checked_sub(DISTANCE)?;
    let mut way = step(below, (&restarted, mask, xsave), code)?;
    if let Some(affinity) = affinity {
        const SCHED_SETAFFINITY: u64 = 203;
        let set_at = way.sp.checked_sub(SET_LEN as u64)?;
        let regs = UserRegs {
            ip: code.call,
            sp: way.sp,
            ax: SCHED_SETAFFINITY,
            di: 0,
            si: SET_LEN as u64,
            dx: set_at,
            ..restarted
        };
        let mut before = step(set_at, (&regs, u64::MAX, &[]), code)?;
        before.bytes.extend(affinity.bytes());
        before.bytes.append(&mut way.bytes);
        way = before;
    }
    (way.sp >= stack.range.start).then_some(way)
}

/// The address of the trampoline and the frame to which it leads, both below `end`.
fn step(end: u64, context: (&UserRegs, u64, &[u8]), code: Code) -> Option<WayBack> {
    let (_, _, xsave) = context;
    let frame_at = end.checked_sub(sigframe::len_bytes(xsave.len()) as u64)? & !63;
    let sp = frame_at.checked_sub(8)?;
    let mut bytes = code.trampoline.to_ne_bytes().to_vec();
    let start = sigframe::build(frame_at, context, &mut bytes);
    debug_assert_eq!(start, frame_at, "an aligned address stays as it is");
    bytes.resize((end - sp) as usize, 0);
    Some(WayBack { bytes, sp })
}

/// Address of a trampoline in the process; `open` opens the file behind a mapping, `read` reads memory.
pub(crate) fn find_trampoline(
    maps: &[Mapping],
    known: &Trampolines,
    open: impl Fn(&Mapping) -> Option<OwnedFd>,
    read: impl Fn(u64, usize) -> Option<Vec<u8>>,
) -> Option<u64> {
    let mut candidates: Vec<&Mapping> =
        maps.iter().filter(|map| map.protection == 5 && map.inode != 0 && !map.shared).collect();
    let is_library =
        |map: &&Mapping| map.name.windows(4).any(|part| part == b"libc" || part == b"musl");
    candidates.sort_by_key(|map| !is_library(map));
    for map in candidates {
        let key = (map.device, map.inode, map.offset);
        let found = known.borrow().get(&key).copied();
        let offset = found.unwrap_or_else(|| search(open(map)?.as_fd(), map));
        known.borrow_mut().insert(key, offset);
        let address = offset.map(|offset| map.range.start + offset);
        // Somebody may have changed the text of this process.
        if let Some(address) = address
            && read(address, TRAMPOLINE.len()).as_deref() == Some(&TRAMPOLINE)
        {
            return Some(address);
        }
    }
    None
}

/// Offset of a trampoline in a mapping of this file. The file is read, since reading the process's memory
/// would make the kernel map all of it there.
fn search(file: BorrowedFd<'_>, map: &Mapping) -> Option<u64> {
    const MOST: u64 = 4 << 20;
    const PIECE: usize = 128 << 10;
    let finder = memmem::Finder::new(&TRAMPOLINE);
    let len = (map.range.end - map.range.start).min(MOST);
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < len {
        let wanted = usize::try_from(len - at).unwrap_or(PIECE).min(PIECE);
        let got = rustix::io::pread(file, &mut piece[..wanted], map.offset + at).ok()?;
        if let Some(found) = finder.find(&piece[..got]) {
            return Some(at + found as u64);
        }
        if got < TRAMPOLINE.len() {
            return None;
        }
        // It may lie across two pieces.
        at += (got - (TRAMPOLINE.len() - 1)) as u64;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use stasis_proctext::maps;

    use super::*;

    #[test]
    fn a_trampoline_is_found_wherever_pieces_are_cut() {
        let line = b"1000-400000 r-xp 00001000 08:01 7 /lib/libc.so.6\n";
        let map = &maps::parse(line).unwrap()[0];
        for at in [0, 5, 131_064, 131_068, 131_072, 1_000_000] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![0x90; 0x1000 + at]).unwrap();
            file.write_all(&TRAMPOLINE).unwrap();
            file.write_all(&[0x90; 5000]).unwrap();
            assert_eq!(search(file.as_fd(), map), Some(at as u64), "at {at}");
        }
        let empty = tempfile::tempfile().unwrap();
        assert_eq!(search(empty.as_fd(), map), None);
    }

    #[test]
    fn only_a_plain_return_will_do() {
        let check = |code: &[u8], at| assert_eq!(returning_syscall(code), at);
        check(&[0x0f, 0x05, 0xc3], Some(0));
        check(&[0x90, 0x0f, 0x05, 0x31, 0xd2, 0x31, 0xff, 0x45, 0x31, 0xdb, 0xc3], Some(1));
        check(&[0x0f, 0x05, 0x31, 0xd1, 0xc3], None);
        check(&[0x0f, 0x05, 0xc9, 0xc3], None);
        check(&[0x0f, 0x05], None);
        check(&[0x0f, 0x05, 0xc9, 0x0f, 0x05, 0xc3], Some(3));
    }
}
