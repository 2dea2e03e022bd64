//! Registration for expedited memory barriers (membarrier(2)).

use crate::prelude::*;

pub const GOAL: &str = "registration for expedited memory barriers survives";
pub const KIND: Kind = Kind::KeptOrRefused("membarrier");

pub fn run(stage: &Stage) -> Verdict {
    let call = |command: usize| raw::syscall(libc::SYS_membarrier, &[command, 0, 0]);
    call(1 << 4).context("MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED")?;
    call(1 << 2).context("MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED")?;
    stage.pause()?;
    call(1 << 3).context("MEMBARRIER_CMD_PRIVATE_EXPEDITED after")?;
    let registered = call(1 << 9).context("MEMBARRIER_CMD_GET_REGISTRATIONS")?;
    ensure!(registered & 0x14 == 0x14, "registered: {registered:#x}");
    Ok(())
}
