//! Options of unix sockets: buffer sizes, time-outs, credentials, packet-info, priority.

use std::os::unix::net::UnixStream;

use crate::prelude::*;

pub const GOAL: &str = "options of unix sockets survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::sockopt;
    let (a, b) = UnixStream::pair()?;
    sockopt::set_socket_send_buffer_size(&a, 30_000)?;
    sockopt::set_socket_recv_buffer_size(&b, 40_000)?;
    sockopt::set_socket_passcred(&b, true)?;
    a.set_read_timeout(Some(1234 * MS))?;
    b.set_write_timeout(Some(77_000 * MS))?;
    a.set_nonblocking(true)?;
    crate::files::keep(stage, || {
        let look = |s: &UnixStream| -> anyhow::Result<String> {
            Ok(format!(
                "{} {} {} {:?} {:?} {:?}",
                sockopt::socket_send_buffer_size(s)?,
                sockopt::socket_recv_buffer_size(s)?,
                sockopt::socket_passcred(s)?,
                s.read_timeout()?,
                s.write_timeout()?,
                rustix::fs::fcntl_getfl(s)?,
            ))
        };
        Ok(vec![look(&a)?, look(&b)?])
    })
}
