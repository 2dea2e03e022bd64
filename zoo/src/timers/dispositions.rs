//! Every signal's disposition: ignored, default, handlers with each flag and a mask.

use crate::prelude::*;

pub const GOAL: &str = "handlers, their flags and masks survive for every signal";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let flags = [
        libc::SA_RESTART, libc::SA_NODEFER, libc::SA_ONSTACK, libc::SA_RESETHAND,
        libc::SA_NOCLDSTOP, libc::SA_NOCLDWAIT, 0,
    ];
    for signal in (1..=64).filter(|s| ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(s)) {
        let flags = flags[signal as usize % flags.len()];
        match signal % 4 {
            0 => raw::set_action(signal, libc::SIG_IGN, 0, &[])?,
            1 => raw::set_action(signal, libc::SIG_DFL, 0, &[])?,
            _ => raw::catch_with(signal, flags, &[signal, 10, 64])?,
        }
    }
    let before = look()?;
    stage.pause()?;
    ensure!(look()? == before, "{:x?} instead of {before:x?}", look()?);
    raw::kill(raw::getpid(), 3)?;
    ensure!(raw::caught().len() == 1, "the handler of signal 3 did not run");
    Ok(())
}

fn look() -> anyhow::Result<Vec<[u64; 4]>> {
    Ok((1..=64).map(raw::action).collect::<Result<_, _>>()?)
}
