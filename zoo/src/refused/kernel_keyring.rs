//! A session keyring of its own with a key.

use crate::prelude::*;

pub const GOAL: &str = "a session keyring survives, is refused, or told as a loss";
pub const KIND: Kind = Kind::KeptOrRefused("keyring");

pub fn run(stage: &Stage) -> Verdict {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    const KEYCTL_READ: usize = 11;
    const SESSION: usize = -3_isize as usize;
    raw::syscall(libc::SYS_keyctl, &[KEYCTL_JOIN_SESSION_KEYRING, 0])?;
    let (kind, name) = (raw::at("user\0"), raw::at("zoo\0"));
    let key = raw::syscall(libc::SYS_add_key, &[kind, name, raw::at("secret"), 6, SESSION])?;
    stage.pause()?;
    let mut bytes = [0_u8; 6];
    let arguments = [KEYCTL_READ, key, raw::into(&mut bytes), 6];
    raw::syscall(libc::SYS_keyctl, &arguments).context("the key is gone")?;
    ensure!(&bytes == b"secret", "{bytes:?}");
    Ok(())
}
