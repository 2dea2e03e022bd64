//! tcp(7): the record at the beginning of a connection's file, before the contents of its queues.

use stasis_model::{SocketId, TcpConnection, TcpWindow};

use super::source::{Input, known};
use crate::{
    Error, Result,
    error::Place,
    wire::{framing::Records, sk_inet::TcpStreamEntry},
};

/// Bits of `opt_mask` (`TCPI_OPT_*`).
const TIMESTAMPS: u32 = 1;
const SACK: u32 = 2;
const WSCALE: u32 = 4;

/// The header and the record are at most this long, bytes; there is room for what later releases add.
pub(crate) const MAX_HEAD: usize = 4 << 10;

/// Name of the file with a connection's queues.
pub(crate) fn tcp_stream_file(socket: SocketId) -> String {
    format!("tcp-stream-{:x}.img", socket.0)
}

pub(crate) fn tcp_stream_entry(connection: &TcpConnection) -> TcpStreamEntry {
    let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
    let (snd_wscale, rcv_wscale) = connection.window_scale.unwrap_or_default();
    let window = connection.window;
    TcpStreamEntry {
        inq_len: connection.received_bytes,
        inq_seq: connection.receive_sequence,
        outq_len: connection.outgoing_bytes,
        outq_seq: connection.send_sequence,
        opt_mask: bit(connection.timestamp.is_some(), TIMESTAMPS)
            | bit(connection.selective_acks, SACK)
            | bit(connection.window_scale.is_some(), WSCALE),
        snd_wscale: snd_wscale.into(),
        mss_clamp: connection.mss,
        rcv_wscale: connection.window_scale.map(|_| rcv_wscale.into()),
        timestamp: connection.timestamp,
        cork: None,
        nodelay: None,
        unsq_len: Some(connection.unsent_bytes),
        snd_wl1: window.map(|window| window.snd_wl1),
        snd_wnd: window.map(|window| window.snd_wnd),
        max_window: window.map(|window| window.max_window),
        rcv_wnd: window.map(|window| window.rcv_wnd),
        rcv_wup: window.map(|window| window.rcv_wup),
    }
}

/// As [`decode`], for checkpoints whose connections without a file come back closed.
pub(super) fn decode_if_there(input: Input, socket: SocketId) -> Result<Option<TcpConnection>> {
    match input.0.has(&tcp_stream_file(socket)) {
        true => decode(input, socket).map(Some),
        false => Ok(None),
    }
}

/// Reads the record of a connection; its queues must be there too.
pub(super) fn decode(input: Input, socket: SocketId) -> Result<TcpConnection> {
    let name = tcp_stream_file(socket);
    let missing =
        || Error::Missing { file: name.clone(), needed_for: "a TCP connection needs it".into() };
    let head = input.0.head(&name, MAX_HEAD)?.ok_or_else(missing)?;
    let mut records = Records::open(&name, known(&name), &head)?;
    let entry: TcpStreamEntry = records.single()?;
    let place = Place::new(&name, 1);
    let queues = u64::from(entry.inq_len) + u64::from(entry.outq_len);
    let end = queues + records.position() as u64;
    if input.0.len(&name)?.is_none_or(|len| len < end) {
        return Err(place.field("outq_len", "queues are cut short"));
    }
    decode_entry(place, &entry)
}

fn decode_entry(place: Place, entry: &TcpStreamEntry) -> Result<TcpConnection> {
    let has = |bit: u32| entry.opt_mask & bit != 0;
    let shift = |field, shift: u32| {
        u8::try_from(shift).map_err(|_| place.field(field, format!("{shift} is no shift")))
    };
    let window_scale = match has(WSCALE) {
        false => None,
        true => {
            let receive = place.need(entry.rcv_wscale, "rcv_wscale")?;
            Some((shift("snd_wscale", entry.snd_wscale)?, shift("rcv_wscale", receive)?))
        }
    };
    let timestamp = match has(TIMESTAMPS) {
        false => None,
        true => Some(place.need(entry.timestamp, "timestamp")?),
    };
    Ok(TcpConnection {
        receive_sequence: entry.inq_seq,
        send_sequence: entry.outq_seq,
        received_bytes: entry.inq_len,
        outgoing_bytes: entry.outq_len,
        unsent_bytes: place.need(entry.unsq_len, "unsq_len")?,
        mss: entry.mss_clamp,
        selective_acks: has(SACK),
        window_scale,
        timestamp,
        window: entry.snd_wnd.map(|snd_wnd| decode_window(place, entry, snd_wnd)).transpose()?,
    })
}

fn decode_window(place: Place, entry: &TcpStreamEntry, snd_wnd: u32) -> Result<TcpWindow> {
    Ok(TcpWindow {
        snd_wnd,
        snd_wl1: place.need(entry.snd_wl1, "snd_wl1")?,
        max_window: place.need(entry.max_window, "max_window")?,
        rcv_wnd: place.need(entry.rcv_wnd, "rcv_wnd")?,
        rcv_wup: place.need(entry.rcv_wup, "rcv_wup")?,
    })
}
