//! Tasks frozen inside a system call.

crate::programs! { "calls";
    accept
    clock_nanosleep_absolute
    clock_nanosleep_boottime
    clock_nanosleep_relative
    condition_variable
    epoll_wait
    epoll_wait_forever
    eventfd_read
    futex_bitset
    futex_wait
    futex_wait_forever
    in_handler
    nanosleep
    nanosleep_remainder
    pause
    pipe_read
    pipe_write
    poll
    poll_forever
    poll_nothing
    ppoll
    pselect
    receive_timeout
    select
    sigsuspend
    sigtimedwait
    sigwait
    waitpid
    waitpid_any
}

use std::time::Duration;

use crate::{program::Verdict, raw, stage::Stage};

/// How long timed calls take: longer than any checkpoint and restore of a small program.
pub const TIME: Duration = Duration::from_millis(1500);

/// Runs a call that must time out (return 0) after [`TIME`], not counting the standstill.
fn timed(stage: &Stage, call: impl FnOnce(Duration) -> anyhow::Result<usize>) -> Verdict {
    stage.ready()?;
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    let result = call(TIME)?;
    let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
    anyhow::ensure!(result == 0, "the call gave {result} instead of 0");
    stage.wait_for_go()?.check(TIME, elapsed)
}

/// Runs a call that must not end before another thread, told to go, has woken it.
fn woken(
    stage: &Stage,
    wake: impl FnOnce() -> Verdict + Send + 'static,
    call: impl FnOnce() -> Verdict,
) -> Verdict {
    let stage_of_waker = stage.clone();
    let waker = std::thread::spawn(move || {
        stage_of_waker.wait_for_go()?;
        wake()
    });
    stage.ready()?;
    call()?;
    anyhow::ensure!(stage.path("go").exists(), "the call ended before anybody woke it");
    waker.join().expect("nobody panics")
}
