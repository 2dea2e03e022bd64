//! A pair whose ends are in parent and child, talking all the time.

use std::{io::{Read, Write}, os::unix::net::UnixStream, sync::atomic::Ordering};

use crate::prelude::*;

pub const GOAL: &str = "parent and child go on talking through a socket pair without a gap";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (mut mine, mut childs) = UnixStream::pair()?;
    let child = raw::fork(stage, move |_| {
        let mut bytes = [0; 8];
        loop {
            childs.read_exact(&mut bytes)?;
            childs.write_all(&(u64::from_ne_bytes(bytes) + 1).to_ne_bytes())?;
        }
    })?;
    let talk = std::thread::spawn(move || -> anyhow::Result<u64> {
        let mut number = 0_u64;
        let mut bytes = [0; 8];
        while raw::LET_GO.load(Ordering::SeqCst) == 0 {
            mine.write_all(&number.to_ne_bytes())?;
            mine.read_exact(&mut bytes)?;
            ensure!(u64::from_ne_bytes(bytes) == number + 1, "{bytes:?} after {number}");
            number += 1;
        }
        Ok(number)
    });
    stage.pause()?;
    raw::LET_GO.store(1, Ordering::SeqCst);
    let number = talk.join().expect("nobody panics")?;
    ensure!(number > 0, "nothing was said");
    child.kill(libc::SIGKILL)?;
    child.wait()?;
    Ok(())
}
