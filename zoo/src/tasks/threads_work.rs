//! Threads that count under a mutex go on counting, and one made after the restore joins them.

use std::sync::{Arc, Mutex, atomic::Ordering};

use crate::prelude::*;

pub const GOAL: &str = "threads under a lock go on, and new threads can be made";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let count = Arc::new(Mutex::new(0_u64));
    let work = |count: Arc<Mutex<u64>>| {
        let mut mine = 0;
        while raw::LET_GO.load(Ordering::SeqCst) == 0 {
            *count.lock().expect("nobody panics") += 1;
            mine += 1;
        }
        mine
    };
    let start = || std::thread::spawn({ let count = Arc::clone(&count); move || work(count) });
    let mut threads: Vec<_> = (0..4).map(|_| start()).collect();
    stage.pause()?;
    let before = *count.lock().expect("nobody panics");
    threads.push(start());
    let more = || Ok(*count.lock().expect("nobody panics") > before + 100);
    stage.wait_until("more rounds", more)?;
    raw::LET_GO.store(1, Ordering::SeqCst);
    let sum: u64 = threads.into_iter().map(|t| t.join().expect("nobody panics")).sum();
    let total = *count.lock().expect("nobody panics");
    ensure!(total == sum, "{total} counted together, {sum} one by one");
    Ok(())
}
