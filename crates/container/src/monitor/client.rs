//! Those who are attached to a container.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use crate::{
    error::{Context, Result},
    frame::Frame,
    log::Stream,
};

/// While so much waits for a slow client, the container's output is left unread, as a terminal would.
const MAX_PENDING_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    wants_output: bool,
    /// It froze the container, or is about to.
    pub holds: bool,
    pub is_gone: bool,
}

impl Client {
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn new(stream: UnixStream) -> Result<Client> {
        stream.set_nonblocking(true).context("change", "a connection")?;
        Ok(Client {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            wants_output: false,
            holds: false,
            is_gone: false,
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub fn has_pending(&self) -> bool {
        !self.output.is_empty()
    }

    pub fn is_behind(&self) -> bool {
        self.output.len() > MAX_PENDING_BYTES
    }

    /// Reads what the client sent.
    pub fn receive(&mut self) -> Vec<Frame> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.is_gone = true,
            Ok(count) => self.input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.is_gone = true,
        }
        let mut frames = Vec::new();
        loop {
            match Frame::take(&mut self.input) {
                Ok(Some(Frame::Hello)) => {
                    self.wants_output = true;
                    self.send(&Frame::Ready);
                }
                Ok(Some(Frame::Hold)) => {
                    self.holds = true;
                    self.send(&Frame::Ready);
                }
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return frames,
                Err(_) => {
                    self.is_gone = true;
                    return frames;
                }
            }
        }
    }

    pub fn send_output(&mut self, stream: Stream, bytes: &[u8]) {
        if self.wants_output {
            self.send(&Frame::Output(stream, bytes.to_vec()));
        }
    }

    pub fn send(&mut self, frame: &Frame) {
        self.output.extend(frame.encode());
        self.flush();
    }

    /// Writes as much as the client takes.
    pub fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.is_gone = true;
                    self.output.clear();
                }
            }
        }
    }

    /// Last words: waits for a slow client, but not for ever.
    pub fn finish(mut self, frame: &Frame) {
        let patience = Some(std::time::Duration::from_secs(2));
        let _ = self.stream.set_nonblocking(false);
        let _ = self.stream.set_write_timeout(patience);
        self.output.extend(frame.encode());
        let _ = self.stream.write_all(&self.output);
    }
}
