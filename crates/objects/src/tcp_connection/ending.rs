//! The ends of both sides' data: ours by shutdown(2), the peer's by a segment in its place.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::net::{Shutdown, shutdown};
use stasis_model::{SocketState, TcpConnection};

use super::{
    Ends, Phase, Queue, REPAIR_OFF_SILENTLY, REPAIR_ON, choose,
    filling::Filling,
    segment::{self, ACK, FIN, Segment},
    set_repair,
};
use crate::{
    error::{Error, Result},
    inet_socket::tcp_info,
    thawing::Thawing,
};

const ARRIVAL: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Ends the data of both sides, in the order that leads to the state.
pub fn end_data(filling: &Filling<'_>, phase: Phase, ends: &Ends, thawing: &Thawing) -> Result<()> {
    let end = |side: Side| match side {
        Side::Ours => end_ours(filling),
        Side::Theirs => {
            let (next, before_fin) = theirs(filling.connection, phase);
            arrive(filling, ends, thawing, (next, before_fin, FIN | ACK))
        }
        Side::Acknowledgement => {
            let next = filling.connection.receive_sequence;
            arrive(filling, ends, thawing, (next, filling.connection.send_sequence, ACK))
        }
    };
    let sides: &[Side] = match phase {
        Phase::SynSent | Phase::Established => &[],
        Phase::FinWait1 => &[Side::Ours],
        Phase::FinWait2 => &[Side::Ours, Side::Acknowledgement],
        Phase::CloseWait => &[Side::Theirs],
        Phase::LastAck => &[Side::Theirs, Side::Ours],
        Phase::Closing => &[Side::Ours, Side::Theirs],
        Phase::Closed => &[Side::Theirs, Side::Ours, Side::Acknowledgement],
    };
    for side in sides {
        end(*side)?;
    }
    expect_phase(filling, phase)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs,
    /// Of the end of our data.
    Acknowledgement,
}

/// The numbers in the peer's FIN: its own, and one that acknowledges nothing new.
fn theirs(connection: &TcpConnection, phase: Phase) -> (u32, u32) {
    let fin = u32::from(phase.has_sent_fin());
    let unacknowledged = connection.send_sequence.wrapping_sub(connection.outgoing_bytes);
    (connection.receive_sequence.wrapping_sub(1), unacknowledged.wrapping_sub(fin))
}

/// A FIN behind data that was not sent waits like that; else it was sent already.
fn end_ours(filling: &Filling<'_>) -> Result<()> {
    let (what, fd) = (filling.what, filling.fd);
    let waits = filling.connection.unsent_bytes > 0;
    if waits {
        set_repair(what, fd, REPAIR_OFF_SILENTLY)?;
    } else {
        choose(what, fd, Queue::Send)?;
    }
    shutdown(fd, Shutdown::Write).map_err(Error::at(what, "shutdown"))?;
    if waits { set_repair(what, fd, REPAIR_ON) } else { Ok(()) }
}

fn arrive(
    filling: &Filling<'_>,
    ends: &Ends,
    thawing: &Thawing,
    (sequence, acknowledged, flags): (u32, u32, u8),
) -> Result<()> {
    let (shift, _) = filling.connection.window_scale.unwrap_or_default();
    let window =
        filling.connection.window.map_or(u32::MAX, |window| window.snd_wnd) >> shift.min(31);
    let window = u16::try_from(window).unwrap_or(u16::MAX);
    let canonical = ends.canonical();
    let raw = segment::raw_socket(thawing.network()?, &canonical.local)?;
    segment::deliver(&raw, &canonical, Segment { sequence, acknowledged, flags, window })?;
    await_arrival(filling, flags)
}

/// What goes over the loopback device has arrived as a rule when it was sent.
fn await_arrival(filling: &Filling<'_>, flags: u8) -> Result<()> {
    let deadline = Instant::now() + ARRIVAL;
    let before_fin = [Phase::Established, Phase::FinWait1];
    let before_ack = [Phase::FinWait1, Phase::LastAck];
    let before: &[Phase] = if flags & FIN != 0 { &before_fin } else { &before_ack };
    while before.contains(&phase_now(filling)?) {
        if Instant::now() > deadline {
            let reason = "the end of its peer's data did not reach the socket";
            return Err(Error::Changed { object: filling.what.into(), reason: reason.into() });
        }
        sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn phase_now(filling: &Filling<'_>) -> Result<Phase> {
    let number = tcp_info(filling.what, filling.fd)?.state();
    Phase::of(SocketState::from_number(number.into())).ok_or_else(|| {
        let reason = format!("the kernel put it into the state {number}");
        Error::Changed { object: filling.what.into(), reason }
    })
}

fn expect_phase(filling: &Filling<'_>, phase: Phase) -> Result<()> {
    let now = phase_now(filling)?;
    if now == phase {
        return Ok(());
    }
    let reason = format!("it came into the state {now:?} instead of {phase:?}");
    Err(Error::Changed { object: filling.what.into(), reason })
}
