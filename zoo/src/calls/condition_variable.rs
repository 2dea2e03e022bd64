//! Mutex, condition variable and barrier of the C and Rust libraries, several threads waiting.

use std::sync::{Arc, Condvar, Mutex};

use crate::prelude::*;

pub const GOAL: &str = "threads that wait for a condition variable are woken correctly";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let shared = Arc::new((Mutex::new((0, false)), Condvar::new()));
    let wait = |shared: Arc<(Mutex<(i32, bool)>, Condvar)>| {
        let mut state = shared.0.lock().expect("nobody panics");
        while !state.1 {
            state = shared.1.wait(state).expect("nobody panics");
        }
        state.0 += 1;
    };
    let threads: Vec<_> = (0..8)
        .map(|_| std::thread::spawn({ let shared = Arc::clone(&shared); move || wait(shared) }))
        .collect();
    stage.pause()?;
    shared.0.lock().expect("nobody panics").1 = true;
    shared.1.notify_all();
    threads.into_iter().for_each(|thread| thread.join().expect("nobody panics"));
    let woken = shared.0.lock().expect("nobody panics").0;
    ensure!(woken == 8, "{woken} of 8 threads counted themselves");
    Ok(())
}
