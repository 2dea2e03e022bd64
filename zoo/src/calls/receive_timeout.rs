//! recv(2) on a datagram socket with SO_RCVTIMEO.

use std::os::unix::net::UnixDatagram;

use crate::prelude::*;

pub const GOAL: &str = "recv(2) with SO_RCVTIMEO ends with EAGAIN, never with EINTR";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (socket, _other) = UnixDatagram::pair()?;
    socket.set_read_timeout(Some(super::TIME))?;
    stage.ready()?;
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    let result = socket.recv(&mut [0; 10]).map_err(|e| e.raw_os_error());
    ensure!(result == Err(Some(libc::EAGAIN)), "recv: {result:?} instead of EAGAIN");
    let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
    // The kernel starts such a time-out anew when the task was stopped; so may we.
    let still = stage.wait_for_go()?;
    let longest = super::TIME * 2 + still.max + Duration::from_secs(1);
    ensure!(elapsed + 20 * MS >= super::TIME && elapsed < longest, "took {elapsed:?}");
    Ok(())
}
