//! Timers, clocks and pending signals.

crate::programs! { "timers";
    alt_stack
    alt_stack_in_use
    clocks
    dispositions
    dispositions_of_child
    interval_cpu
    interval_one_shot
    interval_real
    interval_real_running
    mask
    pending_handled
    pending_order
    pending_process
    pending_thread
    pending_while_stopped
    posix_cpu_clock
    posix_ids
    posix_none
    posix_overrun
    posix_running
    posix_signal
    posix_thread
}

use std::{io, time::Duration};

use crate::raw;

fn set_interval_timer(which: i32, first: Duration, interval: Duration) -> io::Result<()> {
    let value = [interval, first].map(raw::timeval);
    raw::syscall(libc::SYS_setitimer, &[which as usize, raw::at(&value), 0]).map(drop)
}

/// What is left and the interval of an interval timer.
fn interval_timer(which: i32) -> io::Result<(Duration, Duration)> {
    let mut value = [0_u64; 4];
    raw::syscall(libc::SYS_getitimer, &[which as usize, raw::into(&mut value)])?;
    let time = |seconds, micros| Duration::new(seconds, micros as u32 * 1000);
    Ok((time(value[2], value[3]), time(value[0], value[1])))
}

/// A POSIX timer by the kernel's own id (timer_create(2)).
struct PosixTimer {
    id: i32,
}

/// The start of the kernel's `struct sigevent`.
#[repr(C)]
struct Event {
    value: usize,
    signal: i32,
    notify: i32,
    tid: i32,
    rest: [i32; 11],
}

impl PosixTimer {
    fn signal(clock: i32, signal: i32, value: usize) -> io::Result<PosixTimer> {
        PosixTimer::create(
            clock,
            &Event { value, signal, notify: libc::SIGEV_SIGNAL, tid: 0, rest: [0; 11] },
        )
    }

    fn thread(clock: i32, signal: i32, value: usize, tid: i32) -> io::Result<PosixTimer> {
        PosixTimer::create(
            clock,
            &Event { value, signal, notify: libc::SIGEV_THREAD_ID, tid, rest: [0; 11] },
        )
    }

    fn silent(clock: i32) -> io::Result<PosixTimer> {
        PosixTimer::create(
            clock,
            &Event { value: 0, signal: 0, notify: libc::SIGEV_NONE, tid: 0, rest: [0; 11] },
        )
    }

    fn create(clock: i32, event: &Event) -> io::Result<PosixTimer> {
        let mut id = 0_i32;
        let arguments = [clock as usize, raw::at(event), raw::into(&mut id)];
        raw::syscall(libc::SYS_timer_create, &arguments)?;
        Ok(PosixTimer { id })
    }

    fn set(&self, first: Duration, interval: Duration) -> io::Result<()> {
        let value = [interval, first].map(raw::timespec);
        let arguments = [self.id as usize, 0, raw::at(&value), 0];
        raw::syscall(libc::SYS_timer_settime, &arguments).map(drop)
    }

    /// What is left and the interval.
    fn get(&self) -> io::Result<(Duration, Duration)> {
        let mut value = [Duration::ZERO; 2].map(raw::timespec);
        raw::syscall(libc::SYS_timer_gettime, &[self.id as usize, raw::into(&mut value)])?;
        let [interval, first] = value.map(raw::duration);
        Ok((first, interval))
    }

    fn overrun(&self) -> io::Result<usize> {
        raw::syscall(libc::SYS_timer_getoverrun, &[self.id as usize])
    }

    fn delete(&self) -> io::Result<()> {
        raw::syscall(libc::SYS_timer_delete, &[self.id as usize]).map(drop)
    }
}
