//! The standard streams of a container, seen from the host's side.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl, fstat},
    pipe::{PipeFlags, pipe_with},
    termios::tcsetwinsize,
};

use crate::{
    error::{Context, Result},
    frame::Size,
    log::Stream,
};

/// Bytes that wait to be read by the container; beyond it clients have to wait.
pub(super) const MAX_PENDING_INPUT_BYTES: usize = 64 << 10;

/// Our ends.
#[derive(Debug)]
pub(super) struct Streams {
    /// Pipe to standard input, or the console.
    input: Option<File>,
    pending_input: Vec<u8>,
    close_after_input: bool,
    /// Standard output (or the console), standard error.
    outputs: Vec<(Stream, File)>,
    is_console: bool,
    size: Option<Size>,
}

/// The container's ends, to be given to the launcher.
#[derive(Debug)]
pub(super) struct TheirEnds(pub Vec<OwnedFd>);

impl Streams {
    /// Makes pipes. Without `with_input` standard input is `/dev/null`.
    ///
    /// Also tells where the container's descriptors 0, 1 and 2 lead, as `/proc/PID/fd` shows them.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel.
    pub fn pipes(with_input: bool) -> Result<(Streams, TheirEnds, Vec<String>)> {
        let (out, out_theirs) = pipe()?;
        let (err, err_theirs) = pipe()?;
        let (input, in_theirs, in_name) = if with_input {
            let (theirs, ours) = pipe()?;
            let name = name_of_pipe(&theirs)?;
            (Some(ours), theirs, name)
        } else {
            let null = File::open("/dev/null").context("open", "/dev/null")?;
            (None, null.into(), "/dev/null".into())
        };
        let names = vec![in_name, name_of_pipe(&out_theirs)?, name_of_pipe(&err_theirs)?];
        for fd in [Some(&out), Some(&err), input.as_ref()].into_iter().flatten() {
            set_nonblocking(fd)?;
        }
        let streams = Streams {
            input: input.map(File::from),
            pending_input: Vec::new(),
            close_after_input: false,
            outputs: vec![(Stream::Stdout, out.into()), (Stream::Stderr, err.into())],
            is_console: false,
            size: None,
        };
        Ok((streams, TheirEnds(vec![in_theirs, out_theirs, err_theirs]), names))
    }

    /// Takes the master side of a console.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel.
    pub fn console(master: OwnedFd) -> Result<Streams> {
        set_nonblocking(&master)?;
        let output = File::from(master);
        let input = output.try_clone().context("duplicate", "the console")?;
        Ok(Streams {
            input: Some(input),
            pending_input: Vec::new(),
            close_after_input: false,
            outputs: vec![(Stream::Stdout, output)],
            is_console: true,
            size: None,
        })
    }

    pub fn push_input(&mut self, bytes: &[u8]) {
        if self.input.is_some() {
            self.pending_input.extend_from_slice(bytes);
        }
    }

    /// Standard input ends after what is pending. A console does not end.
    pub fn end_input(&mut self) {
        self.close_after_input = !self.is_console;
        self.close_if_done();
    }

    pub fn takes_input(&self) -> bool {
        self.pending_input.len() < MAX_PENDING_INPUT_BYTES
    }

    /// To be watched for writing, while something is pending.
    pub fn input_fd(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.pending_input.is_empty()).map(AsFd::as_fd)
    }

    /// Writes as much as the container takes.
    pub fn write_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        match input.write(&self.pending_input) {
            Ok(count) => drop(self.pending_input.drain(..count)),
            Err(error) if would_block(&error) => {}
            Err(_) => {
                self.input = None;
                self.pending_input.clear();
            }
        }
        self.close_if_done();
    }

    fn close_if_done(&mut self) {
        if self.close_after_input && self.pending_input.is_empty() {
            self.input = None;
        }
    }

    /// To be watched for reading.
    pub fn output_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.iter().map(|(_, file)| file.as_fd())
    }

    /// Reads what is there of the output at `index`; forgets outputs that have ended.
    pub fn read_output(&mut self, index: usize) -> Option<(Stream, Vec<u8>)> {
        let (stream, file) = self.outputs.get_mut(index)?;
        let mut buffer = vec![0; crate::frame::MAX_PAYLOAD_BYTES];
        match file.read(&mut buffer) {
            Ok(count) if count > 0 => {
                buffer.truncate(count);
                Some((*stream, buffer))
            }
            Err(error) if would_block(&error) => None,
            // End of file; a console without users gives EIO, and may get users again.
            _ if self.is_console => None,
            _ => {
                self.outputs.remove(index);
                None
            }
        }
    }

    /// Reads everything that was written before the container ended.
    pub fn drain(&mut self) -> Vec<(Stream, Vec<u8>)> {
        let mut rest = Vec::new();
        let mut index = 0;
        while index < self.outputs.len() {
            let before = self.outputs.len();
            match self.read_output(index) {
                Some(part) => rest.push(part),
                None if self.outputs.len() < before => {}
                None => index += 1,
            }
        }
        rest
    }

    pub fn resize(&mut self, size: Size) {
        self.size = Some(size);
        if let (true, Some((_, console))) = (self.is_console, self.outputs.first()) {
            let _ = tcsetwinsize(console, size.into());
        }
    }

    pub fn size(&self) -> Option<Size> {
        self.size
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).context("make", "a pipe")
}

fn name_of_pipe(fd: &OwnedFd) -> Result<String> {
    let stat = fstat(fd).context("look at", "a pipe")?;
    Ok(format!("pipe:[{}]", stat.st_ino))
}

fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    let flags = fcntl_getfl(fd).context("look at", "a stream")?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK).context("change", "a stream")
}
