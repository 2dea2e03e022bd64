//! What goes over the wire: messages of one byte of kind, four of length (big-endian), the payload.

use std::io::{self, BufReader, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stasis_oci::Digest;

use crate::{
    config::Config,
    error::{Context, Error, Result},
};

/// What this program speaks; the other end must speak the same.
pub(super) const VERSION: u32 = 2;
const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Whom the source brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub version: u32,
    pub config: Config,
    /// What it shall be called there, as a new container.
    pub new_name: Option<String>,
    /// What it was made of, if that was an image.
    pub image: Option<Offer>,
    /// Its TCP connections go along, all of them.
    #[serde(default)]
    pub keeps_connections: bool,
}

/// An image that the source has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub manifest: Digest,
    pub names: Vec<String>,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Hello(Box<Hello>),
    Welcome {
        version: u32,
    },
    /// A content of the image, which is missing.
    Want(Digest),
    /// The archive of a round of this name follows.
    Round(String),
    /// The archive of the checkpoint follows.
    Last,
    /// A piece of an archive.
    Data(Vec<u8>),
    DataEnd,
    Stored,
    Running,
    Commit,
    Done,
    /// Why it ends here.
    Failed(String),
}

impl Message {
    fn encode(&self) -> Result<(u8, Vec<u8>)> {
        Ok(match self {
            Message::Hello(hello) => (b'h', json(hello)?),
            Message::Welcome { version } => (b'w', json(version)?),
            Message::Want(digest) => (b'i', digest.to_string().into_bytes()),
            Message::Round(name) => (b'r', name.clone().into_bytes()),
            Message::Last => (b'l', Vec::new()),
            Message::Data(bytes) => (b'd', bytes.clone()),
            Message::DataEnd => (b'e', Vec::new()),
            Message::Stored => (b's', Vec::new()),
            Message::Running => (b'u', Vec::new()),
            Message::Commit => (b'c', Vec::new()),
            Message::Done => (b'y', Vec::new()),
            Message::Failed(text) => (b'x', text.clone().into_bytes()),
        })
    }

    fn decode(kind: u8, payload: Vec<u8>) -> Result<Message> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(match kind {
            b'h' => Message::Hello(Box::new(parse(&payload)?)),
            b'w' => Message::Welcome { version: parse(&payload)? },
            b'i' => Message::Want(text(payload).parse().map_err(garbled)?),
            b'r' => Message::Round(text(payload)),
            b'l' => Message::Last,
            b'd' => Message::Data(payload),
            b'e' => Message::DataEnd,
            b's' => Message::Stored,
            b'u' => Message::Running,
            b'c' => Message::Commit,
            b'y' => Message::Done,
            b'x' => Message::Failed(text(payload)),
            other => return Err(garbled(format!("it sent a message of kind {other:#x}"))),
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| garbled(error.to_string()))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| garbled(error.to_string()))
}

pub(super) fn garbled(reason: impl std::fmt::Display) -> Error {
    Error::invalid(format!(
        "the other end is no stasis, or one that we do not understand: {reason}"
    ))
}

/// The two streams to the other end.
pub(super) struct Link<'a> {
    input: BufReader<&'a mut (dyn Read + Send)>,
    output: &'a mut (dyn Write + Send),
    pub bytes_sent: u64,
}

impl<'a> Link<'a> {
    pub fn new(input: &'a mut (dyn Read + Send), output: &'a mut (dyn Write + Send)) -> Link<'a> {
        Link { input: BufReader::with_capacity(MAX_PAYLOAD_BYTES, input), output, bytes_sent: 0 }
    }

    /// # Errors
    /// [`Error::Refused`] if the other end is gone.
    pub fn send(&mut self, message: &Message) -> Result<()> {
        let (kind, payload) = message.encode()?;
        let len = u32::try_from(payload.len().min(MAX_PAYLOAD_BYTES)).expect("at most 1 MiB");
        let mut bytes = vec![kind];
        bytes.extend(len.to_be_bytes());
        bytes.extend_from_slice(&payload[..len as usize]);
        self.bytes_sent += bytes.len() as u64;
        self.output
            .write_all(&bytes)
            .and_then(|()| self.output.flush())
            .context("send to", "the other end")
    }

    /// The next message; `None` if the stream ends.
    ///
    /// # Errors
    /// [`Error::Refused`] by the stream, [`Error::Invalid`] for what is no message.
    pub fn receive(&mut self) -> Result<Option<Message>> {
        let mut head = [0; 5];
        let got = self.input.read(&mut head[..1]).context("hear from", "the other end")?;
        if got == 0 {
            return Ok(None);
        }
        self.read_exact(&mut head[1..])?;
        let len = u32::from_be_bytes(head[1..].try_into().expect("four bytes")) as usize;
        if len > MAX_PAYLOAD_BYTES {
            return Err(garbled(format!("a message of {len} bytes")));
        }
        let mut payload = vec![0; len];
        self.read_exact(&mut payload)?;
        Message::decode(head[0], payload).map(Some)
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input.read_exact(bytes).context("hear from", "the other end")
    }

    /// The next message, which must be this one.
    ///
    /// # Errors
    /// As [`Link::receive`]; what the other end says if it fails, or that it is gone.
    pub fn expect(&mut self, expected: &Message) -> Result<()> {
        match self.receive()? {
            Some(message) if message == *expected => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Writes an archive as pieces; if the other end does not take it, it has said why.
    ///
    /// # Errors
    /// What the other end says, or what `write` gave.
    pub fn send_archive(
        &mut self,
        write: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>,
    ) -> Result<()> {
        let written = write(&mut Pieces(self)).and_then(|()| self.send(&Message::DataEnd));
        match written {
            Ok(()) => Ok(()),
            // Who went away may have left a word.
            Err(error) => Err(match self.receive() {
                Ok(Some(Message::Failed(reason))) => told(&reason),
                _ => error,
            }),
        }
    }

    /// Reads an archive to its last piece.
    ///
    /// # Errors
    /// What `read` gave; [`Error::Invalid`] if it is cut.
    pub fn receive_archive<T>(
        &mut self,
        read: impl FnOnce(&mut (dyn Read + Send)) -> Result<T>,
    ) -> Result<T> {
        let mut archive = Archive { link: self, piece: io::Cursor::new(Vec::new()), ended: false };
        let result = read(&mut archive)?;
        // What fills the last block is nobody's.
        io::copy(&mut archive, &mut io::sink()).context("hear from", "the other end")?;
        Ok(result)
    }
}

pub(super) fn unexpected(message: Option<Message>) -> Error {
    match message {
        None => Error::invalid("the connection to the other end broke"),
        Some(Message::Failed(reason)) => told(&reason),
        Some(_) => garbled("it sent what nobody asked for"),
    }
}

/// The other end's words, without what a terminal would obey.
fn told(reason: &str) -> Error {
    let plain: String = reason.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    Error::invalid(format!("the other end: {plain}"))
}

struct Pieces<'a, 'b>(&'a mut Link<'b>);

impl Write for Pieces<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(MAX_PAYLOAD_BYTES)];
        self.0.send(&Message::Data(piece.to_vec())).map_err(io::Error::other)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Archive<'a, 'b> {
    link: &'a mut Link<'b>,
    piece: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Read for Archive<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.piece.read(buffer)?;
            if got > 0 || self.ended || buffer.is_empty() {
                return Ok(got);
            }
            match self.link.receive().map_err(io::Error::other)? {
                Some(Message::Data(bytes)) => self.piece = io::Cursor::new(bytes),
                Some(Message::DataEnd) => self.ended = true,
                other => return Err(io::Error::other(unexpected(other))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(messages: &[Message]) -> Vec<u8> {
        let (mut nothing, mut bytes) = (io::empty(), Vec::new());
        let mut link = Link::new(&mut nothing, &mut bytes);
        messages.iter().for_each(|message| link.send(message).unwrap());
        bytes
    }

    fn received(bytes: &[u8]) -> Result<Vec<Message>> {
        let (mut input, mut sink) = (bytes, io::sink());
        let mut link = Link::new(&mut input, &mut sink);
        let mut messages = Vec::new();
        while let Some(message) = link.receive()? {
            messages.push(message);
        }
        Ok(messages)
    }

    #[test]
    fn what_is_sent_is_received() {
        let all = [
            Message::Welcome { version: 7 },
            Message::Want(Digest::of(b"a layer")),
            Message::Round("round-1".into()),
            Message::Last,
            Message::Data(vec![1, 2, 3]),
            Message::DataEnd,
            Message::Stored,
            Message::Running,
            Message::Commit,
            Message::Done,
            Message::Failed("no".into()),
        ];
        assert_eq!(received(&sent(&all)).unwrap(), all);
    }

    #[test]
    fn what_is_no_message_is_refused_and_bounded() {
        let check = |bytes: &[u8], expect: &str| {
            let told = received(bytes).unwrap_err().to_string();
            assert!(told.contains(expect), "{told}");
        };
        check(b"Welcome to this host!\n", "no stasis");
        check(&[b'd', 0xff, 0xff, 0xff, 0xff], "no stasis");
        check(&[b'd', 0, 0, 0, 5, 1], "cannot hear");
        check(&[b'd', 0], "cannot hear");
        check(&[b'h', 0, 0, 0, 2, b'{', b'}'], "no stasis");
    }

    #[test]
    fn an_archive_passes_and_a_cut_one_is_told() {
        let (mut nothing, mut bytes) = (io::empty(), Vec::new());
        let content = vec![7; 3 << 20];
        let written = content.clone();
        Link::new(&mut nothing, &mut bytes)
            .send_archive(|out| out.write_all(&written).context("write", "it"))
            .unwrap();
        let read = |bytes: &[u8]| {
            let (mut input, mut sink) = (bytes, io::sink());
            Link::new(&mut input, &mut sink).receive_archive(|input| {
                let mut all = Vec::new();
                input.read_to_end(&mut all).context("read", "it")?;
                Ok(all)
            })
        };
        assert_eq!(read(&bytes).unwrap(), content);
        let told = read(&bytes[..bytes.len() - 5]).unwrap_err();
        assert!(told.to_string().contains("broke"), "{told}");
    }

    #[test]
    fn words_of_the_other_end_do_not_reach_the_terminal_raw() {
        let told = unexpected(Some(Message::Failed("full\u{1b}[2J".into()))).to_string();
        assert_eq!(told, "the other end: full[2J");
    }
}
