//! Being attached to a container: its output, its standard input, the news of its end.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr},
};

use crate::{
    error::{Context, Error, Result},
    frame::{Frame, Size},
    log::Stream,
    place,
    store::Container,
};

/// Control-P, Control-Q.
pub const DEFAULT_DETACH_KEYS: [u8; 2] = [0x10, 0x11];

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The container has stopped for good.
    Exited(i32),
    /// The user typed the detach keys.
    Detached,
    /// The monitor went away without a word.
    Lost,
}

/// What goes to the container besides its output coming out.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub stdin: bool,
    pub tty: bool,
    pub signals: bool,
    pub detach_keys: Vec<u8>,
}

/// A connection to the monitor.
#[derive(Debug)]
pub struct Session {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Session {
    /// Connects; says nothing yet.
    ///
    /// # Errors
    /// [`Error::WrongState`] if no monitor listens.
    pub(crate) fn connect(container: &Container) -> Result<Session> {
        let not_running = || container.wrong_state("is not running");
        let (_dir, short) =
            place::short_path(&container.place.attach_socket()).map_err(|_| not_running())?;
        let stream = UnixStream::connect(short).map_err(|_| not_running())?;
        Ok(Session { stream, buffer: Vec::new() })
    }

    pub(crate) fn send(&mut self, frame: &Frame) -> Result<()> {
        self.stream.write_all(&frame.encode()).context("talk to", "the monitor")
    }

    /// Says something and waits until the monitor has understood.
    pub(crate) fn ask(&mut self, frame: &Frame) -> Result<()> {
        self.send(frame)?;
        match self.receive()? {
            Some(Frame::Ready) => Ok(()),
            _ => Err(Error::invalid("the monitor does not answer")),
        }
    }

    /// The next frame; `None` if the monitor went away.
    pub(crate) fn receive(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> Result<Option<Frame>> {
        Frame::take(&mut self.buffer).map_err(|_| Error::invalid("the monitor talks nonsense"))
    }

    fn read(&mut self) -> Result<bool> {
        let mut bytes = [0; 16 << 10];
        let count = match self.stream.read(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            other => other.context("hear", "the monitor")?,
        };
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count > 0)
    }

    /// Waits for the end of the container.
    ///
    /// # Errors
    /// If the connection breaks in an unusual way.
    pub fn wait(mut self) -> Result<Ended> {
        loop {
            match self.receive()? {
                Some(Frame::Exit(code)) => return Ok(Ended::Exited(code)),
                Some(_) => {}
                None => return Ok(Ended::Lost),
            }
        }
    }

    /// Hands the output over until the container ends, or until `interrupt` is readable: then it is as
    /// if the user had detached.
    ///
    /// # Errors
    /// If the connection breaks in an unusual way.
    pub fn follow(
        mut self,
        interrupt: BorrowedFd<'_>,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Ended> {
        loop {
            while let Some(frame) = self.take()? {
                match frame {
                    Frame::Output(stream, bytes) => output(stream, &bytes),
                    Frame::Exit(code) => return Ok(Ended::Exited(code)),
                    _ => {}
                }
            }
            if self.is_interrupted(interrupt)? {
                return Ok(Ended::Detached);
            }
            if !self.read()? {
                return Ok(Ended::Lost);
            }
        }
    }

    /// Waits until there is something to read.
    fn is_interrupted(&self, interrupt: BorrowedFd<'_>) -> Result<bool> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(interrupt, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None::<&Timespec>))
            .context("wait for", "the container")?;
        Ok(!fds[1].revents().is_empty())
    }

    /// Tells the container's console how large the terminal is.
    ///
    /// # Errors
    /// If the monitor is gone.
    pub fn resize(&mut self, size: Size) -> Result<()> {
        self.send(&Frame::Resize(size))
    }

    /// Carries input, output, signals and sizes to and fro until the container ends.
    ///
    /// # Errors
    /// If our own standard streams break.
    pub fn proxy(mut self, container: &Container, proxy: &Proxy) -> Result<Ended> {
        let stdin = std::io::stdin();
        let raw = (proxy.tty && proxy.stdin).then(|| RawTerminal::enter(stdin.as_fd())).flatten();
        let signals = signals_of_interest(proxy)?;
        let mut keys = DetachKeys::new(proxy.detach_keys.clone());
        let mut reads_stdin = proxy.stdin;
        if proxy.tty {
            self.send_size();
        }
        let ended = loop {
            let ready = self.poll(&signals, reads_stdin)?;
            if ready.signal {
                self.pass_signal(&signals, container, proxy);
            }
            if ready.stdin {
                match self.pass_input(&mut keys)? {
                    Input::More => {}
                    Input::End => reads_stdin = false,
                    Input::Detach => break Ended::Detached,
                }
            }
            if ready.stream
                && let Some(ended) = self.pass_output()?
            {
                break ended;
            }
        };
        drop(raw);
        Ok(ended)
    }

    fn poll(&self, signals: &SignalFd, reads_stdin: bool) -> Result<Ready> {
        let stdin = std::io::stdin();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if reads_stdin {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, None::<&Timespec>))
            .context("wait for", "the container")?;
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready { stream: is_ready(0), signal: is_ready(1), stdin: is_ready(2) })
    }

    fn pass_output(&mut self) -> Result<Option<Ended>> {
        if !self.read()? {
            return Ok(Some(Ended::Lost));
        }
        while let Some(frame) = self.take()? {
            match frame {
                Frame::Output(stream, bytes) => write_out(stream, &bytes)?,
                Frame::Exit(code) => return Ok(Some(Ended::Exited(code))),
                _ => {}
            }
        }
        Ok(None)
    }

    fn pass_input(&mut self, keys: &mut DetachKeys) -> Result<Input> {
        let mut bytes = [0; 8 << 10];
        let count = match rustix::io::read(std::io::stdin(), &mut bytes[..]) {
            Ok(count) => count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Input::More),
            Err(_) => 0,
        };
        if count == 0 {
            self.send(&Frame::InputEnd)?;
            return Ok(Input::End);
        }
        let (pass, detach) = keys.filter(&bytes[..count]);
        if !pass.is_empty() {
            self.send(&Frame::Input(pass))?;
        }
        Ok(if detach { Input::Detach } else { Input::More })
    }

    fn pass_signal(&mut self, signals: &SignalFd, container: &Container, proxy: &Proxy) {
        while let Ok(Some(info)) = signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number == Signal::SIGWINCH as i32 {
                self.send_size();
            } else if proxy.signals {
                let _ = container.kill(number);
            }
        }
    }

    fn send_size(&mut self) {
        if let Some(size) = own_size() {
            let _ = self.resize(size);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Ready {
    stream: bool,
    signal: bool,
    stdin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    More,
    End,
    Detach,
}

fn write_out(stream: Stream, bytes: &[u8]) -> Result<()> {
    match stream {
        Stream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush()).context("write", "standard output")
        }
        Stream::Stderr => {
            std::io::stderr().lock().write_all(bytes).context("write", "standard error")
        }
    }
}

/// Size of the terminal that we run on, if there is one.
pub fn own_size() -> Option<Size> {
    let size = tcgetwinsize(std::io::stdin())
        .or_else(|_| tcgetwinsize(std::io::stdout()))
        .ok()
        .filter(|size| size.ws_row > 0)?;
    Some(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Is our standard input a terminal?
pub fn stdin_is_terminal() -> bool {
    isatty(std::io::stdin())
}

fn signals_of_interest(proxy: &Proxy) -> Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGWINCH);
    if proxy.signals {
        let passed = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ];
        passed.into_iter().for_each(|signal| set.add(signal));
    }
    set.thread_block().context("block", "signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("watch", "signals")
}

/// Our terminal passes every key as it is; as before when this is dropped.
pub struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// `None` if `fd` is no terminal.
    pub fn enter(fd: BorrowedFd<'_>) -> Option<RawTerminal> {
        let terminal = fd.try_clone_to_owned().ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Drain, &raw).ok()?;
        Some(RawTerminal { terminal, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Finds the detach keys in what the user types.
#[derive(Debug)]
struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    fn new(keys: Vec<u8>) -> DetachKeys {
        DetachKeys { keys, matched: 0 }
    }

    /// What is to be passed on, and whether the user wants to go.
    fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut pass = Vec::new();
        for &byte in typed {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (pass, true);
                }
            } else {
                pass.extend_from_slice(&self.keys[..self.matched]);
                self.matched = usize::from(self.keys.first() == Some(&byte));
                if self.matched == 0 {
                    pass.push(byte);
                }
            }
        }
        (pass, false)
    }
}

/// Reads keys as Docker writes them: `ctrl-p,ctrl-q`.
///
/// # Errors
/// [`Error::Invalid`].
pub fn parse_detach_keys(text: &str) -> Result<Vec<u8>> {
    let key = |name: &str| match name.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Some(letter - b'a' + 1),
        Some([symbol @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Some(symbol & 0x1F),
        Some(_) => None,
        None => match name.as_bytes() {
            [single] => Some(*single),
            _ => None,
        },
    };
    text.split(',')
        .map(|name| key(name).ok_or_else(|| Error::invalid(format!("unknown key {name:?}"))))
        .collect()
}

/// Carries a terminal's input and output to and from a console master, for `exec -t`.
///
/// # Errors
/// If our own standard streams break.
pub(crate) fn proxy_console(master: OwnedFd, proxy: &Proxy) -> Result<Ended> {
    let stdin = std::io::stdin();
    let _raw = proxy.stdin.then(|| RawTerminal::enter(stdin.as_fd())).flatten();
    let signals = signals_of_interest(proxy)?;
    let mut keys = DetachKeys::new(proxy.detach_keys.clone());
    let mut master = File::from(master);
    let resize = |master: &File| {
        if let Some(size) = own_size() {
            let _ = rustix::termios::tcsetwinsize(master, size.into());
        }
    };
    resize(&master);
    let mut reads_stdin = proxy.stdin;
    let mut bytes = [0; 16 << 10];
    loop {
        let mut fds = vec![
            PollFd::from_borrowed_fd(master.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if reads_stdin {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, None::<&Timespec>))
            .context("wait for", "the console")?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready[1] {
            while let Ok(Some(_)) = signals.read_signal() {}
            resize(&master);
        }
        if ready.get(2) == Some(&true) {
            let count = rustix::io::read(&stdin, &mut bytes[..]).unwrap_or(0);
            let (pass, detach) = keys.filter(&bytes[..count]);
            reads_stdin = count > 0;
            master.write_all(&pass).context("write to", "the console")?;
            if detach {
                return Ok(Ended::Detached);
            }
        }
        if ready[0] {
            // EIO: the last user of the console has gone.
            match master.read(&mut bytes) {
                Ok(count) if count > 0 => write_out(Stream::Stdout, &bytes[..count])?,
                _ => return Ok(Ended::Lost),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_across_reads_and_nothing_else_is_lost() {
        let mut keys = DetachKeys::new(DEFAULT_DETACH_KEYS.to_vec());
        assert_eq!(keys.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(keys.filter(b"\x10"), (b"".to_vec(), false));
        assert_eq!(keys.filter(b"\x11x"), (b"".to_vec(), true));
    }

    #[test]
    fn keys_are_written_as_dockers() {
        assert_eq!(parse_detach_keys("ctrl-p,ctrl-q").unwrap(), DEFAULT_DETACH_KEYS);
        assert_eq!(parse_detach_keys("a,ctrl-[").unwrap(), [b'a', 0x1B]);
        assert!(parse_detach_keys("ctrl-pp").is_err());
    }
}
