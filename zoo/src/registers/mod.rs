//! What a task holds in its registers.

crate::programs! { "registers";
    avx
    avx512
    busy
    calculation
    flags
    integers
    mxcsr
    segment_bases
    sse
    two_threads
    x87
}

use std::sync::atomic::Ordering;

use crate::{raw, stage::Stage};

/// Runs a busy loop in a thread until the test says go; gives what was in its registers then.
fn in_busy_loop<T: Send + 'static>(
    stage: &Stage,
    busy: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let (begins, has_begun) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = begins.send(());
        busy()
    });
    // A thread that is being started blocks all signals.
    has_begun.recv()?;
    stage.pause()?;
    raw::LET_GO.store(1, Ordering::SeqCst);
    Ok(thread.join().expect("nobody panics"))
}
