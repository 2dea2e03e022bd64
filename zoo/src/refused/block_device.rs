//! Devices whose state cannot be kept: here /dev/kmsg, in the middle of being read.

use std::{fs, io::Read};

use crate::prelude::*;

pub const GOAL: &str = "a device with state of its own is refused by name";
pub const KIND: Kind = Kind::Refused("/dev/kmsg");

pub fn run(stage: &Stage) -> Verdict {
    use std::os::unix::fs::OpenOptionsExt;
    // A machine may hide it; then there is nothing to refuse, and /dev/kmsg is named by us.
    let mut options = fs::File::options();
    let mut device = options.read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    let mut bytes = [0; 8192];
    let first = device.read(&mut bytes).map_err(|e| e.raw_os_error());
    stage.pause()?;
    let second = device.read(&mut bytes).map_err(|e| e.raw_os_error());
    ensure!(first.is_ok() || second == first || second.is_ok(), "{second:?} after {first:?}");
    Ok(())
}
