//! The blank that becomes init of a restored container: a program that does nothing at all.
//!
//! It is executed from a memfd, so that the new process has an almost empty address space and no
//! trace of us. The engine catches it before its first instruction.

use std::{
    fs::File,
    io::Write,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::error::{Context, Result};

const BASE: u64 = 0x40_0000;
const EHDR_BYTES: u16 = 64;
const PHDR_BYTES: u16 = 56;
const NR_PHDRS: u16 = 2;
/// `mov eax, 34; syscall; jmp back`: pause(2) for ever.
const CODE: [u8; 9] = [0xB8, 34, 0, 0, 0, 0x0F, 0x05, 0xEB, 0xF7];

/// Opens the blank for execveat(2); closed by it.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel.
pub(crate) fn open() -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = memfd_create("blank", flags).context("make", "a memory file")?;
    let mut file = File::from(memfd);
    file.write_all(&image()).context("write", "a memory file")?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).context("seal", "a memory file")?;
    // A file that is open for writing cannot be executed (ETXTBSY).
    let read_only = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(read_only.context("open", "a memory file")?.into())
}

/// A static program with one text segment (elf(5)).
fn image() -> Vec<u8> {
    let header = u64::from(EHDR_BYTES + PHDR_BYTES * NR_PHDRS);
    let size = header + CODE.len() as u64;
    let mut image = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    image.extend([2u16, 62].map(u16::to_le_bytes).concat()); // ET_EXEC, EM_X86_64
    image.extend(1u32.to_le_bytes());
    image.extend([BASE + header, u64::from(EHDR_BYTES), 0].map(u64::to_le_bytes).concat());
    image.extend(0u32.to_le_bytes());
    image.extend([EHDR_BYTES, PHDR_BYTES, NR_PHDRS, 64, 0, 0].map(u16::to_le_bytes).concat());
    image.extend([1u32, 5].map(u32::to_le_bytes).concat()); // PT_LOAD, readable and executable
    image.extend([0, BASE, BASE, size, size, 0x1000].map(u64::to_le_bytes).concat());
    image.extend([0x6474_E551u32, 6].map(u32::to_le_bytes).concat()); // PT_GNU_STACK, not executable
    image.extend([0u64, 0, 0, 0, 0, 16].map(u64::to_le_bytes).concat());
    image.extend(CODE);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_it() {
        let blank = open().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), blank.as_raw_fd());
        let mut child = std::process::Command::new(path).spawn().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
