//! What was written to one end of a pseudoterminal and not read at the other.
//!
//! Reading takes it out, so it is put back at once: up to what the line discipline holds
//! (`N_TTY_BUF_SIZE`) by `TIOCSTI`, and what the kernel keeps behind that by writing to the other
//! end. Meanwhile the terminal is in modes in which nothing is echoed, mapped or made a signal.
//! The bit `ICANON` is special: the kernel takes all that is in the buffer for one finished line
//! when it changes, so it only changes while the buffer is empty.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use stasis_sys::ioctl::{self, KernelTermios};

use crate::error::{Error, Result};

/// What the line discipline takes at most; the kernel keeps more where it was written.
pub const MOST_IN_LINE_DISCIPLINE: usize = 4095;
/// More than the kernel keeps on the way (8 KiB and a buffer of the line discipline).
const MOST: usize = 16 << 10;

const ICANON: u32 = 0o2;
const IEXTEN: u32 = 0o100_000;
const EXTPROC: u32 = 0o200_000;
const IXON: u32 = 0o2000;
const IXOFF: u32 = 0o10_000;
const OPOST: u32 = 0o1;
const VEOF: usize = 4;
const VEOL: usize = 11;
const VLNEXT: usize = 15;
const VEOL2: usize = 16;

/// The ends of a pair that are at hand.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub what: &'a str,
    /// Open for reading.
    pub slave: Option<BorrowedFd<'a>>,
    pub master: Option<BorrowedFd<'a>>,
}

/// Bytes that wait at the two ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// As it would be typed, so that lines end where they ended.
    pub input: Vec<u8>,
    pub output: Vec<u8>,
}

/// Looks at what waits at the ends, which stays there.
///
/// # Errors
/// [`Error::Unsupported`] before anything is touched, if it could not be put back.
pub fn peek(pair: Pair<'_>) -> Result<Unread> {
    let is_packet = |master| ioctl::get_int(master, libc::TIOCGPKT).is_ok_and(|on| on != 0);
    let packet = pair.master.filter(|master| is_packet(*master));
    if let Some(master) = packet
        && ready(pair.what, master, PollFlags::PRI)?
    {
        return refuse(pair.what, "a terminal in packet mode with a status not yet read");
    }
    if !may_hold(pair)? {
        return Ok(Unread::default());
    }
    let packet = packet.map(|master| PacketModeOff::set(pair.what, master)).transpose()?;
    let unread =
        peek_input(pair).and_then(|input| peek_output(pair).map(|output| Unread { input, output }));
    let back = packet.map_or(Ok(()), PacketModeOff::finish);
    unread.and_then(|unread| back.and(Ok(unread)))
}

/// Whether a look must be taken; asking does not change anything.
fn may_hold(pair: Pair<'_>) -> Result<bool> {
    let Pair { what, slave, master } = pair;
    let at = || Error::at(what, "ioctl(FIONREAD)");
    if let Some(slave) = slave {
        // Lets the kernel hand over what it has on the way, if nothing is there.
        let readable = ready(what, slave, PollFlags::IN)?;
        let waiting = ioctl::readable_bytes(slave).map_err(at())?;
        if master.is_none() && waiting >= MOST_IN_LINE_DISCIPLINE {
            return refuse(what, "a terminal with too much unread input");
        }
        let modes = ioctl::terminal_modes(slave).map_err(Error::at(what, "ioctl(TCGETS2)"))?;
        if readable || waiting > 0 || is_canonical(&modes) {
            return Ok(true);
        }
    }
    let Some(master) = master else { return Ok(false) };
    ready(what, master, PollFlags::IN)?;
    Ok(ioctl::readable_bytes(master).map_err(at())? > 0)
}

fn refuse<T>(what: &str, reason: &str) -> Result<T> {
    Err(Error::Unsupported { object: what.into(), reason: reason.into() })
}

fn is_canonical(modes: &KernelTermios) -> bool {
    modes.local & ICANON != 0 && modes.local & EXTPROC == 0
}

fn peek_input(pair: Pair<'_>) -> Result<Vec<u8>> {
    let Some(slave) = pair.slave else { return Ok(Vec::new()) };
    let modes = BorrowedModes::of(pair.what, slave)?;
    let original = modes.original;
    let input = if is_canonical(&original) {
        read_lines(&modes)?
    } else {
        modes.set(&quiet(&original))?;
        read_all(pair.what, slave)?
    };
    let typed = modes.set(&for_typing(&original)).and_then(|()| type_in(pair, &input));
    modes.finish()?;
    let rest = typed?;
    write_rest(pair.what, pair.master, &input[rest..])?;
    Ok(input)
}

/// Puts unread input into a slave, and the modes at last.
pub fn thaw_input(pair: Pair<'_>, modes: &KernelTermios, input: &[u8]) -> Result<()> {
    let Some(slave) = pair.slave else { return Ok(()) };
    let set = |modes: &KernelTermios| {
        ioctl::set_terminal_modes(slave, modes).map_err(Error::at(pair.what, "ioctl(TCSETS2)"))
    };
    set(&for_typing(modes))?;
    let rest = type_in(pair, input)?;
    set(modes)?;
    write_rest(pair.what, pair.master, &input[rest..])
}

/// Types what the line discipline takes; returns how much that was.
fn type_in(pair: Pair<'_>, input: &[u8]) -> Result<usize> {
    let Some(slave) = pair.slave else { return Ok(0) };
    let count = match pair.master {
        Some(_) => input.len().min(MOST_IN_LINE_DISCIPLINE),
        None => input.len(),
    };
    inject(pair.what, slave, &input[..count]).and(Ok(count))
}

fn inject(what: &str, end: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    bytes.iter().try_for_each(|byte| {
        ioctl::type_byte(end, *byte).map_err(Error::at(what, "ioctl(TIOCSTI)"))
    })
}

/// Writes to the other end what the line discipline has no room for now.
fn write_rest(what: &str, other: Option<BorrowedFd<'_>>, rest: &[u8]) -> Result<()> {
    const CHUNK: usize = 256;
    if rest.is_empty() {
        return Ok(());
    }
    let Some(other) = other else { return refuse(what, "a terminal with too much unread input") };
    for chunk in rest.chunks(CHUNK) {
        let mut left = chunk;
        while !left.is_empty() {
            if !ready(what, other, PollFlags::OUT)? {
                return refuse(what, "a terminal with more in it than can be put into it");
            }
            let written = rustix::io::write(other, left).map_err(Error::at(what, "write"))?;
            left = &left[written..];
        }
    }
    Ok(())
}

fn peek_output(pair: Pair<'_>) -> Result<Vec<u8>> {
    let Some(master) = pair.master else { return Ok(Vec::new()) };
    let mut output = Vec::new();
    loop {
        ready(pair.what, master, PollFlags::IN)?;
        let waiting =
            ioctl::readable_bytes(master).map_err(Error::at(pair.what, "ioctl(FIONREAD)"))?;
        if waiting == 0 || output.len() > MOST {
            break;
        }
        if waiting >= MOST_IN_LINE_DISCIPLINE && output.is_empty() {
            check_writable(pair)?;
        }
        output.extend(read_once(pair.what, master)?);
    }
    thaw_output(pair, &output)?;
    Ok(output)
}

/// There may be more than the line discipline takes back.
fn check_writable(pair: Pair<'_>) -> Result<()> {
    match pair.slave {
        Some(_) => Ok(()),
        None => refuse(pair.what, "a terminal with too much unread output"),
    }
}

/// Puts unread output in front of a master that has none.
pub fn thaw_output(pair: Pair<'_>, output: &[u8]) -> Result<()> {
    let Some(master) = pair.master else { return Ok(()) };
    let (first, rest) = output.split_at(output.len().min(MOST_IN_LINE_DISCIPLINE));
    inject(pair.what, master, first)?;
    let Some(slave) = pair.slave.filter(|_| !rest.is_empty()) else {
        return write_rest(pair.what, None, rest);
    };
    let modes = BorrowedModes::of(pair.what, slave)?;
    let original = modes.original;
    modes.set(&KernelTermios { output: original.output & !OPOST, ..original })?;
    let written = write_rest(pair.what, Some(slave), rest);
    modes.finish()?;
    written
}

/// Takes out what was typed in canonical mode: finished lines, and one that is not.
fn read_lines(modes: &BorrowedModes<'_>) -> Result<Vec<u8>> {
    let (what, original) = (modes.what, &modes.original);
    let mut input = Vec::new();
    modes.set(&quiet(original))?;
    while input.len() < MOST && ready(what, modes.slave, PollFlags::IN)? {
        let line = read_once(what, modes.slave)?;
        input.extend(as_typed(&line, Line::Finished, original));
    }
    modes.set(&KernelTermios { local: quiet(original).local & !ICANON, ..quiet(original) })?;
    let rest = read_all(what, modes.slave)?;
    input.extend(as_typed(&rest, Line::Open, original));
    Ok(input)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Finished,
    Open,
}

/// What must be typed so that a line comes to hold these bytes.
///
/// A finished line ends with a newline or another end of line, or was ended by the character for
/// end of file, which read(2) does not show. Any of these inside the line was typed literally.
fn as_typed(line: &[u8], state: Line, modes: &KernelTermios) -> Vec<u8> {
    let character = |at: usize| Some(modes.characters[at]).filter(|byte| *byte != 0);
    let extended = |at: usize| character(at).filter(|_| modes.local & IEXTEN != 0);
    let is_end =
        |byte: u8| byte == b'\n' || character(VEOL) == Some(byte) || extended(VEOL2) == Some(byte);
    let (end, body) = match (state, line.split_last()) {
        (Line::Finished, Some((last, body))) if is_end(*last) => (Some(*last), body),
        (Line::Finished, _) => (character(VEOF), line),
        (Line::Open, _) => (None, line),
    };
    let literal = extended(VLNEXT);
    let mut typed = Vec::with_capacity(line.len() + 1);
    for byte in body {
        if is_end(*byte) || character(VEOF) == Some(*byte) || literal == Some(*byte) {
            typed.extend(literal);
        }
        typed.push(*byte);
    }
    typed.extend(end);
    typed
}

/// Modes in which reading never waits and nothing is done with what is there.
fn quiet(modes: &KernelTermios) -> KernelTermios {
    // Without IXON an output that was stopped would flow again; its characters are off.
    KernelTermios {
        input: modes.input & (IXON | IXOFF),
        local: modes.local & (ICANON | EXTPROC),
        characters: [0; 19],
        ..*modes
    }
}

/// Modes in which only the ends of lines mean something.
fn for_typing(modes: &KernelTermios) -> KernelTermios {
    let mut typing = quiet(modes);
    typing.local |= modes.local & IEXTEN;
    if is_canonical(modes) {
        for at in [VEOF, VEOL, VLNEXT, VEOL2] {
            typing.characters[at] = modes.characters[at];
        }
    } else {
        typing.local &= !IEXTEN;
    }
    typing
}

fn read_all(what: &str, end: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < MOST {
        let bytes = read_once(what, end)?;
        if bytes.is_empty() {
            break;
        }
        all.extend(bytes);
    }
    Ok(all)
}

fn read_once(what: &str, end: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 64 << 10];
    let len = match rustix::io::read(end, &mut bytes) {
        Err(rustix::io::Errno::AGAIN) => 0,
        other => other.map_err(Error::at(what, "read"))?,
    };
    bytes.truncate(len);
    Ok(bytes)
}

/// Whether an end is ready now; a hang-up is not what was asked for.
fn ready(what: &str, end: BorrowedFd<'_>, events: PollFlags) -> Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(end, events)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).map_err(Error::at(what, "poll"))?;
    let told = polled[0].revents();
    Ok(told.contains(events) && !told.contains(PollFlags::HUP))
}

/// Whether output goes out: it does not after `^S`, or if its reader is far behind.
pub fn takes_output(what: &str, slave: BorrowedFd<'_>) -> Result<bool> {
    ready(what, slave, PollFlags::OUT)
}

/// Whether the slave was open and is no longer.
pub fn lost_its_slave(what: &str, master: BorrowedFd<'_>) -> Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(master, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).map_err(Error::at(what, "poll"))?;
    Ok(polled[0].revents().contains(PollFlags::HUP))
}

/// A slave whose modes are changed for a moment; they come back whatever happens.
struct BorrowedModes<'a> {
    what: &'a str,
    slave: BorrowedFd<'a>,
    original: KernelTermios,
    locked: KernelTermios,
}

impl<'a> BorrowedModes<'a> {
    fn of(what: &'a str, slave: BorrowedFd<'a>) -> Result<Self> {
        let original = ioctl::terminal_modes(slave).map_err(Error::at(what, "ioctl(TCGETS2)"))?;
        let locked =
            ioctl::locked_modes(slave).map_err(Error::at(what, "ioctl(TIOCGLCKTRMIOS)"))?;
        if locked != KernelTermios::default() {
            ioctl::set_locked_modes(slave, &KernelTermios::default())
                .map_err(Error::at(what, "ioctl(TIOCSLCKTRMIOS)"))?;
        }
        Ok(BorrowedModes { what, slave, original, locked })
    }

    fn set(&self, modes: &KernelTermios) -> Result<()> {
        ioctl::set_terminal_modes(self.slave, modes).map_err(Error::at(self.what, "ioctl(TCSETS2)"))
    }

    fn finish(self) -> Result<()> {
        self.give_back().map_err(Error::at(self.what, "ioctl(TCSETS2)"))
    }

    fn give_back(&self) -> stasis_sys::Result<()> {
        ioctl::set_terminal_modes(self.slave, &self.original)?;
        if self.locked != KernelTermios::default() {
            ioctl::set_locked_modes(self.slave, &self.locked)?;
        }
        Ok(())
    }
}

impl Drop for BorrowedModes<'_> {
    fn drop(&mut self) {
        // After `finish` it does nothing new.
        let _ = self.give_back();
    }
}

/// A master that is not in packet mode for a moment.
struct PacketModeOff<'a> {
    what: &'a str,
    master: BorrowedFd<'a>,
}

impl<'a> PacketModeOff<'a> {
    fn set(what: &'a str, master: BorrowedFd<'a>) -> Result<Self> {
        ioctl::set_packet_mode(master, false).map_err(Error::at(what, "ioctl(TIOCPKT)"))?;
        Ok(PacketModeOff { what, master })
    }

    fn finish(self) -> Result<()> {
        ioctl::set_packet_mode(self.master, true).map_err(Error::at(self.what, "ioctl(TIOCPKT)"))
    }
}

impl Drop for PacketModeOff<'_> {
    fn drop(&mut self) {
        let _ = ioctl::set_packet_mode(self.master, true);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        use rustix::pty::{OpenptFlags, openpt, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl::open_pty_peer(master.as_fd(), libc::O_RDWR | libc::O_NOCTTY).unwrap();
        (master, slave)
    }

    fn ends<'a>(master: &'a OwnedFd, slave: &'a OwnedFd) -> Pair<'a> {
        Pair { what: "pair", slave: Some(slave.as_fd()), master: Some(master.as_fd()) }
    }

    fn read(end: &OwnedFd) -> Vec<u8> {
        read_once("end", end.as_fd()).unwrap()
    }

    /// Peeks twice (the second look sees what the first put back), then carries it to a new pair.
    fn carry(typed: &[u8], set: impl Fn(&mut KernelTermios)) -> (OwnedFd, OwnedFd, Unread) {
        let (master, slave) = pair();
        let mut modes = ioctl::terminal_modes(slave.as_fd()).unwrap();
        set(&mut modes);
        ioctl::set_terminal_modes(slave.as_fd(), &modes).unwrap();
        rustix::io::write(&master, typed).unwrap();
        let unread = peek(ends(&master, &slave)).unwrap();
        assert_eq!(peek(ends(&master, &slave)).unwrap(), unread);
        assert_eq!(ioctl::terminal_modes(slave.as_fd()).unwrap(), modes);
        let (new_master, new_slave) = pair();
        let new = ends(&new_master, &new_slave);
        thaw_input(new, &modes, &unread.input).unwrap();
        thaw_output(new, &unread.output).unwrap();
        assert_eq!(peek(new).unwrap(), unread);
        (new_master, new_slave, unread)
    }

    #[test]
    fn lines_end_where_they_ended() {
        let (master, slave, unread) = carry(b"one\ntwo\x04th\x16\x04ree", |_| {});
        assert_eq!(unread.input, b"one\ntwo\x04th\x16\x04ree");
        assert_eq!(read(&slave), b"one\n");
        assert_eq!(read(&slave), b"two");
        assert!(!ready("slave", slave.as_fd(), PollFlags::IN).unwrap());
        // The open line can still be edited: ^H's neighbour DEL erases the last character.
        rustix::io::write(&master, b"\x7fE\n").unwrap();
        assert_eq!(read(&slave), b"th\x04reE\n");
    }

    #[test]
    fn an_end_of_file_is_kept() {
        let (_master, slave, _) = carry(b"\x04x", |_| {});
        assert_eq!(read(&slave), b"");
        assert!(!ready("slave", slave.as_fd(), PollFlags::IN).unwrap());
    }

    #[test]
    fn echo_is_output_that_waits() {
        let (master, _slave, unread) = carry(b"ab\n", |_| {});
        assert_eq!(unread.output, b"ab\r\n");
        assert_eq!(read(&master), b"ab\r\n");
    }

    #[test]
    fn raw_bytes_are_kept_also_when_there_are_many() {
        let bytes: Vec<u8> = (0..9_000_u32).map(|n| (n % 251) as u8).collect();
        let raw = |modes: &mut KernelTermios| {
            (modes.input, modes.local) = (0, 0);
            modes.characters[6] = 1;
        };
        let (_master, slave, unread) = carry(&bytes, raw);
        assert_eq!(unread.input, bytes);
        let mut all = Vec::new();
        while all.len() < bytes.len() {
            all.extend(read(&slave));
        }
        assert_eq!(all, bytes);
    }

    #[test]
    fn much_output_is_kept() {
        let (master, slave) = pair();
        let bytes: Vec<u8> = (0..9_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
        rustix::io::write(&slave, &bytes).unwrap();
        assert_eq!(peek(ends(&master, &slave)).unwrap().output, bytes);
        ioctl::set_packet_mode(master.as_fd(), true).unwrap();
        assert_eq!(peek(ends(&master, &slave)).unwrap().output, bytes);
        assert_eq!(ioctl::get_int(master.as_fd(), libc::TIOCGPKT).unwrap(), 1);
        assert_eq!(read(&master)[0], 0);
    }
}
