//! A connection that was shut down while more is in the send queue than the peer takes: the end waits
//! behind the data.

use std::{io::Read, net::Shutdown};

use crate::prelude::*;

pub const GOAL: &str = "the end of a TCP stream comes after all its data";
pub const KIND: Kind = Kind::Survives;

const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;

pub fn run(stage: &Stage) -> Verdict {
    let (client, server) = stuffed()?;
    client.0.shutdown(Shutdown::Write)?;
    let (second, other) = stuffed()?;
    other.shutdown(Shutdown::Write)?;
    stage.wait_until("the end of one side", || Ok(super::tcp_state(&other)? == FIN_WAIT2))?;
    second.0.shutdown(Shutdown::Write)?;
    let states = || -> anyhow::Result<[u8; 4]> {
        let ends = [&client.0, &second.0, &other, &server];
        let mut states = [0; 4];
        for (state, end) in states.iter_mut().zip(ends) {
            *state = super::tcp_state(end)?;
        }
        Ok(states)
    };
    let before = states()?;
    ensure!(before[..2] == [FIN_WAIT1, LAST_ACK], "{before:?}");
    stage.pause()?;
    ensure!(states()? == before, "the states are {:?} instead of {before:?}", states()?);
    for ((_, written), mut end) in [(&client, &server), (&second, &other)] {
        super::tcp_check(end, (0, *written))?;
        ensure!(end.read(&mut [0])? == 0, "there is more than was written");
    }
    ensure!(super::tcp_state(&server)? == CLOSE_WAIT, "{}", super::tcp_state(&server)?);
    Ok(())
}

/// An end with how much was written to it, and the other one.
fn stuffed() -> anyhow::Result<((std::net::TcpStream, usize), std::net::TcpStream)> {
    let (client, server) = super::tcp_pair("127.0.0.1")?;
    super::set_option(&client, libc::SOL_SOCKET, libc::SO_SNDBUF, 40_000)?;
    super::set_option(&server, libc::SOL_SOCKET, libc::SO_RCVBUF, 20_000)?;
    let written = super::tcp_stuff(&client)?;
    ensure!(written > 30_000, "only {written} bytes are on their way");
    Ok(((client, written), server))
}
