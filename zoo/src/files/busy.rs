//! A process that makes, writes, reads back, renames and deletes files all the time.

use std::{fs, sync::atomic::Ordering};

use crate::prelude::*;

pub const GOAL: &str = "a process in the middle of file work goes on correctly";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let work = |stage: &Stage, number: u32| -> anyhow::Result<u32> {
        let (first, second) = (stage.path(&format!("a{number}")), stage.path(&format!("b{number}")));
        let mut rounds = 0_u32;
        while raw::LET_GO.load(Ordering::SeqCst) == 0 {
            let text = format!("{number} {rounds}").repeat(100);
            fs::write(&first, &text)?;
            fs::rename(&first, &second)?;
            ensure!(fs::read_to_string(&second)? == text, "round {rounds} read something else");
            fs::remove_file(&second)?;
            rounds += 1;
        }
        Ok(rounds)
    };
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let stage = stage.clone();
            std::thread::spawn(move || work(&stage, number))
        })
        .collect();
    stage.pause()?;
    raw::LET_GO.store(1, Ordering::SeqCst);
    for thread in threads {
        let rounds = thread.join().expect("nobody panics")?;
        ensure!(rounds > 0, "no round was made");
    }
    Ok(())
}
