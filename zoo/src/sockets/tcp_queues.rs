//! A connection whose queues are full in both directions: received and not read, sent and not
//! received, not yet sent. Whoever loses or repeats a byte is found out by the pattern.

use crate::prelude::*;

pub const GOAL: &str = "no byte in the queues of a TCP connection is lost or comes twice";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (client, server) = super::tcp_pair("127.0.0.1")?;
    for end in [&client, &server] {
        super::set_option(end, libc::SOL_SOCKET, libc::SO_SNDBUF, 40_000)?;
        super::set_option(end, libc::SOL_SOCKET, libc::SO_RCVBUF, 20_000)?;
    }
    let (there, back) = (super::tcp_stuff(&client)?, super::tcp_stuff(&server)?);
    ensure!(there > 30_000 && back > 30_000, "only {there} and {back} bytes are on their way");
    super::tcp_check(&server, (0, 1000))?;
    stage.pause()?;
    super::tcp_check(&server, (1000, there))?;
    super::tcp_check(&client, (0, back))?;
    let more = super::tcp_stuff(&client)?;
    super::tcp_check(&server, (0, more))
}
