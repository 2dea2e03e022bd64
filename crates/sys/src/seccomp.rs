//! seccomp(2): installing a filter without setting no_new_privs.

use std::io;

/// One instruction of a classic BPF program (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub operand: u32,
}

/// Puts the calling thread under a filter; those it is already under stay.
///
/// # Errors
/// `EACCES` without CAP_SYS_ADMIN and no_new_privs, `EINVAL` for a program the kernel does not take.
pub fn install(program: &[Instruction]) -> io::Result<()> {
    let len = u16::try_from(program.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "filter is too long"))?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `program` points to `len` instructions laid out as `struct sock_filter`, which live
    // across the call; the kernel copies and checks them and writes nothing (seccomp(2)).
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_the_kernels() {
        assert_eq!(size_of::<Instruction>(), size_of::<libc::sock_filter>());
    }

    #[test]
    fn an_empty_program_is_refused() {
        assert!(install(&[]).is_err());
    }
}
