//! Connections that are closed in one direction, with data left to read, and one that nobody reads.

use std::{io::{Read, Write}, net::Shutdown};

use crate::prelude::*;

pub const GOAL: &str = "half-closed TCP connections stay half-closed, and are in their states";
pub const KIND: Kind = Kind::Survives;

const FIN_WAIT2: u8 = 5;
const CLOSE_WAIT: u8 = 8;

pub fn run(stage: &Stage) -> Verdict {
    let (mut writer, mut reader) = super::tcp_pair("127.0.0.1")?;
    writer.write_all(b"left to read")?;
    writer.shutdown(Shutdown::Write)?;
    let (silent, mut at_end) = super::tcp_pair("127.0.0.1")?;
    silent.shutdown(Shutdown::Write)?;
    ensure!(at_end.read(&mut [0; 9])? == 0, "the end did not come");
    let (mut deaf, mut speaker) = super::tcp_pair("127.0.0.1")?;
    deaf.shutdown(Shutdown::Read)?;
    let states = || -> anyhow::Result<[u8; 4]> {
        let ends = [&writer, &reader, &silent, &at_end];
        let mut states = [0; 4];
        for (state, end) in states.iter_mut().zip(ends) {
            *state = super::tcp_state(end)?;
        }
        Ok(states)
    };
    let expect = [FIN_WAIT2, CLOSE_WAIT, FIN_WAIT2, CLOSE_WAIT];
    // Acknowledgements may take a moment.
    stage.wait_until("the states", || Ok(states()? == expect))?;
    stage.pause()?;
    ensure!(states()? == expect, "the states are {:?} instead of {expect:?}", states()?);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ensure!(text == "left to read", "{text}");
    reader.write_all(b"ok").context("the other direction is closed")?;
    ensure!(writer.read(&mut [0; 9])? == 2, "the other direction is closed");
    ensure!(writer.write(b"x").is_err(), "the closed direction is open");
    ensure!(at_end.read(&mut [0; 9])? == 0, "not at its end");
    ensure!(deaf.read(&mut [0; 9])? == 0, "somebody spoke");
    deaf.write_all(b"ok").context("the open direction is closed")?;
    ensure!(speaker.read(&mut [0; 9])? == 2, "the open direction is closed");
    drop((at_end, reader));
    ensure!((&silent).read(&mut [0; 9])? == 0, "the second end did not come");
    Ok(())
}
