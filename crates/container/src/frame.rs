//! What goes over the attach socket: one byte of kind, four of length (big-endian), the payload.

use rustix::termios::Winsize;
use serde::{Deserialize, Serialize};

use crate::log::Stream;

const HEADER_BYTES: usize = 5;
/// No payload is longer; who sends more is cut off.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 64 << 10;

/// From a client to the monitor, and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The client wants output from now on.
    Hello,
    /// From here on the client gets the output.
    Ready,
    Input(Vec<u8>),
    InputEnd,
    Resize(Size),
    /// The client is about to freeze the container: thaw it if the client vanishes.
    Hold,
    Output(Stream, Vec<u8>),
    /// The container has stopped for good.
    Exit(i32),
}

/// Of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

impl From<Size> for Winsize {
    fn from(size: Size) -> Winsize {
        Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

/// The other side does not speak our language.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

impl Frame {
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload): (u8, Vec<u8>) = match self {
            Frame::Hello => (b'h', Vec::new()),
            Frame::Ready => (b'y', Vec::new()),
            Frame::Input(bytes) => (b'i', bytes.clone()),
            Frame::InputEnd => (b'e', Vec::new()),
            Frame::Resize(size) => {
                (b'r', [size.rows.to_be_bytes(), size.columns.to_be_bytes()].concat())
            }
            Frame::Hold => (b'f', Vec::new()),
            Frame::Output(Stream::Stdout, bytes) => (b'1', bytes.clone()),
            Frame::Output(Stream::Stderr, bytes) => (b'2', bytes.clone()),
            Frame::Exit(code) => (b'x', code.to_be_bytes().to_vec()),
        };
        let len = u32::try_from(payload.len()).expect("payloads are cut to MAX_PAYLOAD_BYTES");
        let mut bytes = vec![kind];
        bytes.extend(len.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// Takes one frame off the beginning of `buffer`; `None` if it is not all there yet.
    ///
    /// # Errors
    /// [`Garbled`].
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Frame>, Garbled> {
        let Some(header) = buffer.get(..HEADER_BYTES) else { return Ok(None) };
        let len = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if len > MAX_PAYLOAD_BYTES {
            return Err(Garbled);
        }
        if buffer.len() < HEADER_BYTES + len {
            return Ok(None);
        }
        let kind = header[0];
        let rest = buffer.split_off(HEADER_BYTES + len);
        let payload = std::mem::replace(buffer, rest).split_off(HEADER_BYTES);
        Frame::decode(kind, payload).map(Some)
    }

    fn decode(kind: u8, payload: Vec<u8>) -> Result<Frame, Garbled> {
        Ok(match (kind, payload.as_slice()) {
            (b'h', []) => Frame::Hello,
            (b'y', []) => Frame::Ready,
            (b'i', _) => Frame::Input(payload),
            (b'e', []) => Frame::InputEnd,
            (b'r', &[a, b, c, d]) => Frame::Resize(Size {
                rows: u16::from_be_bytes([a, b]),
                columns: u16::from_be_bytes([c, d]),
            }),
            (b'f', []) => Frame::Hold,
            (b'1', _) => Frame::Output(Stream::Stdout, payload),
            (b'2', _) => Frame::Output(Stream::Stderr, payload),
            (b'x', &[a, b, c, d]) => Frame::Exit(i32::from_be_bytes([a, b, c, d])),
            _ => return Err(Garbled),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Hello,
            Frame::Ready,
            Frame::Input(b"abc".to_vec()),
            Frame::InputEnd,
            Frame::Resize(Size { rows: 24, columns: 80 }),
            Frame::Hold,
            Frame::Output(Stream::Stdout, vec![]),
            Frame::Output(Stream::Stderr, vec![0, 255]),
            Frame::Exit(-1),
        ]
    }

    #[test]
    fn frames_come_back_also_byte_by_byte() {
        let bytes: Vec<u8> = frames().iter().flat_map(Frame::encode).collect();
        let (mut buffer, mut got) = (Vec::new(), Vec::new());
        for byte in bytes {
            buffer.push(byte);
            got.extend(Frame::take(&mut buffer).unwrap());
        }
        assert_eq!(got, frames());
        assert!(buffer.is_empty());
    }

    #[test]
    fn garbage_is_told() {
        assert_eq!(Frame::take(&mut b"?\0\0\0\0".to_vec()), Err(Garbled));
        assert_eq!(Frame::take(&mut b"i\xff\0\0\0".to_vec()), Err(Garbled));
    }
}
