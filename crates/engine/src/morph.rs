//! Morphing one blank with its memory into the process that was frozen.

use stasis_model::{Live, Process, SignalMask, Tree};
use stasis_objects::{process, signal, thread};
use stasis_sys::ptrace::UserRegs;
use stasis_tracee::{Batch, Blank, Channel};

use crate::facade::Error;

/// Empties the table of descriptors but for one.
pub fn close_all_but(keep: i32, batch: &mut Batch) {
    const CLOSE_RANGE: i64 = 436;
    if keep > 0 {
        batch.call("close_range", CLOSE_RANGE, [0.into(), (keep - 1).into(), 0.into()]);
    }
    batch.call("close_range", CLOSE_RANGE, [(keep + 1).into(), u32::MAX.into(), 0.into()]);
}

/// Gives a process its further threads, and each thread what is its own.
pub fn threads(
    blank: &mut Blank,
    tree: &Tree,
    live: &Live,
    bounding: u64,
    channel: &Channel,
) -> Result<(), Error> {
    let others: Vec<i32> = live.threads.iter().skip(1).map(|thread| thread.tid.0).collect();
    blank.spawn_threads(&others)?;
    let own_pid = blank.own_pid();
    let batches: Vec<Batch> = live
        .threads
        .iter()
        .enumerate()
        .map(|(index, frozen)| {
            let mut batch = Batch::new();
            if index == 0 {
                const CLOSE: i64 = 3;
                // Where a table is shared, another process was quicker.
                batch.try_call("close", CLOSE, [channel.remote_fd().into()]);
                signal::flush_child_signals(&mut batch);
            }
            thread::thaw(frozen, &mut batch);
            thread::thaw_rights(tree, live, frozen, bounding, &mut batch);
            if index == 0 {
                process::thaw_last(live, own_pid, &mut batch);
            }
            signal::thaw_pending(&frozen.pending, own_pid, Some(frozen.tid.0), &mut batch);
            batch
        })
        .collect();
    // The leader first: filters for all threads come from it, before they change their rights.
    blank.run(&batches[0])?;
    blank.run_in_others(&batches[1..])?;
    Ok(())
}

/// Takes our pages out of a process that has everything else.
pub fn leave(blank: &mut Blank, live: &Live) -> Result<(), Error> {
    let regs = thread::thaw_registers(blank, &live.threads)?;
    let masks = live.threads.iter().map(|thread| thread.blocked);
    let ends: Vec<(UserRegs, SignalMask)> = regs.into_iter().zip(masks).collect();
    blank.take_leave(&ends)?;
    Ok(())
}

/// Stops a process that job control had stopped.
pub fn stop(blank: &Blank, process: &Process) -> Result<(), Error> {
    if let stasis_model::State::Live { stopped_by: Some(_), live } = &process.state {
        blank.stop_by_job_control(live.leader().blocked)?;
    }
    Ok(())
}
