//! Thawing: pairs are made before the processes are, since a process has the controlling terminal
//! that its session had when it was born.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use stasis_model::{
    FileId, FileKind, NsPid, OpenFile, Terminal, TerminalFile, TerminalKind, Termios, Tree, TtyId,
};
use stasis_sys::ioctl::{self, KernelTermios};
use stasis_tracee::{Batch, Blank, Channel};

use super::{
    master_id,
    queue::{self, Pair},
    slave_id,
};
use crate::{
    descriptor,
    error::{Error, Result},
    path_file,
    thawing::Thawing,
};

const O_ACCMODE: u32 = 3;
const O_NONBLOCK: u32 = 0o4000;
const CLOSE: i64 = 3;
const IOCTL: i64 = 16;
const OPENAT: i64 = 257;

/// Name under which a caller hands over the new console.
const CONSOLE: &str = "console";

/// The terminals of a tree that is being restored.
#[derive(Debug, Default)]
pub struct Opened {
    ends: BTreeMap<u32, Ends>,
    files: BTreeMap<FileId, OwnedFd>,
    /// Kept so that their numbers stay taken while others are made.
    spare: Vec<OwnedFd>,
}

/// Ours of a terminal.
#[derive(Debug)]
struct Ends {
    master: Option<OwnedFd>,
    slave: Option<OwnedFd>,
    whose: Whose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Tree,
    Console,
    /// The restoring process has it, too.
    Shell,
}

/// The terminal of this process: the first of its standard streams that is one.
pub fn own_terminal() -> Option<OwnedFd> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let terminal = streams.into_iter().find(|stream| ioctl::terminal_modes(*stream).is_ok())?;
    rustix::io::fcntl_dupfd_cloexec(terminal, 0).ok()
}

impl Opened {
    /// Makes or finds all terminals of the tree below `root`, in their frozen state.
    ///
    /// `shell` is the terminal of a shell whose job the tree becomes.
    ///
    /// # Errors
    /// [`Error::Changed`] if a number is taken, [`Error::Unsupported`] if a terminal outside the tree
    /// has no successor.
    pub fn open(
        tree: &Tree,
        root: BorrowedFd<'_>,
        inherited: &HashMap<String, OwnedFd>,
        shell: Option<OwnedFd>,
    ) -> Result<Opened> {
        let mut opened = Opened::default();
        let files = terminal_files(tree);
        opened.make_pairs(tree, root, &files)?;
        for (id, terminal) in &tree.terminals {
            let index = match terminal.kind {
                TerminalKind::PtyMaster { .. } | TerminalKind::Controlling => continue,
                TerminalKind::PtySlave { index } => index,
                TerminalKind::Console
                | TerminalKind::VirtualTerminal
                | TerminalKind::External
                | TerminalKind::Serial => {
                    let reason = "a terminal that is no pseudoterminal".into();
                    return Err(Error::Unsupported { object: format!("terminal {id}"), reason });
                }
            };
            if !opened.ends.contains_key(&index) {
                let names = files.iter().filter(|file| file.terminal == *id);
                let names: Vec<&Path> = names.map(|file| file.path).collect();
                opened.find_outside(index, &names, inherited, shell.as_ref())?;
            }
        }
        for file in &files {
            opened.open_file(tree, file, root)?;
        }
        opened.set_states(tree)?;
        opened.spare.clear();
        Ok(opened)
    }

    /// Pairs with their master in the tree, and those that are hung up at the end.
    fn make_pairs(&mut self, tree: &Tree, root: BorrowedFd<'_>, files: &[Named<'_>]) -> Result<()> {
        let hung_up = |terminal: &Terminal| terminal.termios.is_none();
        let wanted: BTreeSet<u32> = tree
            .terminals
            .values()
            .filter_map(|terminal| match terminal.kind {
                TerminalKind::PtyMaster { index } => Some(index),
                TerminalKind::PtySlave { index } if hung_up(terminal) => Some(index),
                _ => None,
            })
            .collect();
        for index in wanted {
            let path = multiplexer(index, files);
            let master = self.open_master(index, &path, root)?;
            ioctl::set_pty_lock(master.as_fd(), false)
                .map_err(Error::at(name(index), "ioctl(TIOCSPTLCK)"))?;
            let slave = match tree.terminals.get(&slave_id(index)) {
                Some(_) => Some(open_peer(index, &master)?),
                None => None,
            };
            self.ends.insert(index, Ends { master: Some(master), slave, whose: Whose::Tree });
        }
        Ok(())
    }

    /// Opens the master with this number; who else looks for one holds others for a moment.
    fn open_master(&mut self, index: u32, path: &Path, root: BorrowedFd<'_>) -> Result<OwnedFd> {
        const TRIES: usize = 20;
        for _ in 0..TRIES {
            if let Some(master) = self.try_master(index, path, root)? {
                return Ok(master);
            }
            self.spare.clear();
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let reason = "this terminal's number is taken by another one; close that one, or restore \
                      in a container, where numbers are never taken"
            .into();
        Err(Error::Changed { object: name(index), reason })
    }

    /// Opens masters until one has the number, as the kernel gives the lowest one that is free.
    fn try_master(
        &mut self,
        index: u32,
        path: &Path,
        root: BorrowedFd<'_>,
    ) -> Result<Option<OwnedFd>> {
        loop {
            let spare = self.spare.iter().position(|held| {
                ioctl::pty_index(held.as_fd()).is_ok_and(|number| number == index)
            });
            if let Some(at) = spare {
                return Ok(Some(self.spare.swap_remove(at)));
            }
            let master = path_file::open_below(root, path, OFlags::RDWR.bits())
                .map_err(Error::at(path.display().to_string(), "open"))?;
            let number = ioctl::pty_index(master.as_fd())
                .map_err(Error::at(path.display().to_string(), "ioctl(TIOCGPTN)"))?;
            if number > index {
                return Ok(None);
            }
            self.spare.push(master);
        }
    }

    /// A terminal whose master is somebody else's.
    fn find_outside(
        &mut self,
        index: u32,
        names: &[&Path],
        inherited: &HashMap<String, OwnedFd>,
        shell: Option<&OwnedFd>,
    ) -> Result<()> {
        let by_name = |path: &&Path| inherited.get(&path.display().to_string());
        let console = inherited
            .get(CONSOLE)
            .or_else(|| names.iter().find_map(by_name))
            .or_else(|| inherited.get(&name(index)));
        let (slave, whose) = match (console, shell) {
            (Some(console), _) => (console, Whose::Console),
            (None, Some(shell)) => (shell, Whose::Shell),
            (None, None) => {
                let reason = "the master of this terminal was outside the tree; \
                              restore with --shell-job on a terminal that takes its place"
                    .into();
                return Err(Error::Unsupported { object: name(index), reason });
            }
        };
        let slave = Some(reopen(slave.as_fd(), OFlags::RDWR.bits(), &name(index))?);
        self.ends.insert(index, Ends { master: None, slave, whose });
        Ok(())
    }

    fn open_file(&mut self, tree: &Tree, file: &Named<'_>, root: BorrowedFd<'_>) -> Result<()> {
        let opened = match tree.terminals[&file.terminal].kind {
            TerminalKind::PtyMaster { index } => self.take_master(index, file)?,
            TerminalKind::PtySlave { index } => self.open_slave(index, file, root)?,
            // Opened later by a process of its session.
            TerminalKind::Controlling => return Ok(()),
            TerminalKind::Console
            | TerminalKind::VirtualTerminal
            | TerminalKind::External
            | TerminalKind::Serial => unreachable!("refused when the terminals were looked at"),
        };
        let what = file.path.display().to_string();
        stasis_sys::fcntl::set_status_flags(opened.as_fd(), file.open.flags & !O_ACCMODE)
            .map_err(Error::at(what, "F_SETFL"))?;
        self.files.insert(file.id, opened);
        Ok(())
    }

    fn take_master(&self, index: u32, file: &Named<'_>) -> Result<OwnedFd> {
        let is_taken = self
            .files
            .values()
            .any(|other| ioctl::pty_index(other.as_fd()).is_ok_and(|number| number == index));
        let master = self.ends.get(&index).and_then(|ends| ends.master.as_ref());
        match master {
            Some(master) if !is_taken => Thawing::duplicate(master.as_fd(), &name(index)),
            _ => {
                let reason = "a master that was opened twice".into();
                Err(Error::Unsupported { object: file.path.display().to_string(), reason })
            }
        }
    }

    fn open_slave(&self, index: u32, file: &Named<'_>, root: BorrowedFd<'_>) -> Result<OwnedFd> {
        let Ends { slave, whose, .. } = &self.ends[&index];
        let flags = file.open.flags & (O_ACCMODE | O_NONBLOCK);
        let what = file.path.display().to_string();
        if *whose != Whose::Tree {
            let slave = slave.as_ref().expect("a terminal outside the tree has a slave");
            return reopen(slave.as_fd(), flags, &what);
        }
        let opened =
            path_file::open_below(root, file.path, flags).map_err(Error::at(&what, "open"))?;
        let device =
            ioctl::terminal_device(opened.as_fd()).map_err(Error::at(&what, "ioctl(TIOCGDEV)"))?;
        if super::index_of(device.0, device.1) != Some(index) {
            let reason = format!("it is not terminal number {index}");
            return Err(Error::Changed { object: what, reason });
        }
        if let Some(mode) = file.mode {
            rustix::fs::fchmod(&opened, Mode::from_raw_mode(mode & 0o7777))
                .map_err(Error::at(what, "fchmod"))?;
        }
        Ok(opened)
    }

    fn set_states(&mut self, tree: &Tree) -> Result<()> {
        for (index, ends) in &mut self.ends {
            let master = tree.terminals.get(&master_id(*index));
            let slave = tree.terminals.get(&slave_id(*index));
            let Some(either) = master.or(slave) else { continue };
            if either.termios.is_none() {
                // Closing the master hangs the slave up.
                (ends.master, ends.slave) = (None, None);
                continue;
            }
            match ends.whose {
                Whose::Tree | Whose::Console => set_state(*index, ends, master, slave)?,
                Whose::Shell => set_modes_in_foreground(*index, ends, either)?,
            }
        }
        Ok(())
    }

    /// Makes the terminal of a session the controlling one of its leader, whose table of descriptors
    /// is empty.
    pub fn control(
        &self,
        tree: &Tree,
        leader: NsPid,
        blank: &mut Blank,
        channel: &Channel,
    ) -> Result<()> {
        const TIOCSCTTY: i32 = 0x540e;
        let is_its = |(_, terminal): &(&TtyId, &Terminal)| terminal.session == Some(leader);
        let mut indices = tree.terminals.iter().filter(is_its).filter_map(|(_, it)| pty(it));
        let slave = indices.find_map(|index| self.ends.get(&index)?.slave.as_ref());
        let Some(slave) = slave else { return Ok(()) };
        if blank.proc().stat()?.terminal != 0 {
            return Ok(());
        }
        call_on(slave.as_fd(), blank, channel, |batch| {
            batch.call("ioctl(TIOCSCTTY)", IOCTL, [0.into(), TIOCSCTTY.into(), 0.into()]);
        })
    }

    /// Terminals with a foreground group, and the leader of their session.
    pub fn foregrounds(&self, tree: &Tree) -> Vec<Foreground> {
        let mut all = Vec::new();
        for (index, ends) in &self.ends {
            let Some(terminal) = tree.terminals.get(&slave_id(*index)) else { continue };
            let (Some(session), Some(group)) = (terminal.session, terminal.foreground_group) else {
                continue;
            };
            let in_tree = tree.processes.iter().any(|process| process.group == group);
            let is_ours = ends.whose != Whose::Shell || is_foreground(ends);
            if in_tree && is_ours && ends.slave.is_some() {
                all.push(Foreground { index: *index, session, group });
            }
        }
        all
    }

    /// Puts a group in the foreground, by a process of the session whose table is empty.
    ///
    /// All signals of a blank are blocked, so that `SIGTTOU` does not stop it.
    pub fn set_foreground(
        &self,
        foreground: Foreground,
        blank: &mut Blank,
        channel: &Channel,
    ) -> Result<()> {
        const TIOCSPGRP: i32 = 0x5410;
        let Some(slave) = &self.ends[&foreground.index].slave else { return Ok(()) };
        call_on(slave.as_fd(), blank, channel, |batch| {
            let group = batch.bytes(&foreground.group.0.to_ne_bytes());
            batch.call("ioctl(TIOCSPGRP)", IOCTL, [0.into(), TIOCSPGRP.into(), group.into()]);
        })
    }

    /// Gives the open files to whom they are handed out by.
    pub fn hand_over(&mut self, thawing: &mut Thawing) {
        for (id, file) in std::mem::take(&mut self.files) {
            thawing.keep_file(id, file);
        }
    }
}

/// A group that is to be in the foreground.
#[derive(Clone, Copy, Debug)]
pub struct Foreground {
    index: u32,
    pub session: NsPid,
    pub group: NsPid,
}

/// Files that are `/dev/tty`, each with its session.
pub fn controlling_files(tree: &Tree) -> Vec<(FileId, Option<NsPid>)> {
    let files = terminal_files(tree).into_iter();
    files
        .filter_map(|file| {
            let terminal = &tree.terminals[&file.terminal];
            (terminal.kind == TerminalKind::Controlling).then_some((file.id, terminal.session))
        })
        .collect()
}

/// Opens `/dev/tty` in a process of the session, whose table is empty.
pub fn thaw_controlling(
    id: FileId,
    blank: &mut Blank,
    channel: &Channel,
    thawing: &mut Thawing,
) -> Result<()> {
    let file = thawing.model_file(id);
    let FileKind::Terminal(terminal) = &file.kind else { return Ok(()) };
    let path = &terminal.path.path;
    let what = path.display().to_string();
    let parent = path.parent().unwrap_or(path);
    let directory = path_file::open_below(thawing.root(), parent, OFlags::DIRECTORY.bits())
        .map_err(Error::at(&what, "open the directory"))?;
    channel.send(blank.pid(), &[directory.as_fd()])?;
    let mut batch = Batch::new();
    channel.receive(&mut batch);
    let name = path.file_name().map_or(b".".as_slice(), |name| name.as_encoded_bytes());
    let name = batch.text(name);
    let flags = OFlags::from_bits_retain(file.flags & (O_ACCMODE | O_NONBLOCK)) | OFlags::NOCTTY;
    let opened = batch.call("openat", OPENAT, [0.into(), name.into(), flags.bits().into()]);
    batch.call("close", CLOSE, [0.into()]);
    let number = blank.run(&batch)?.result(opened).map_err(Error::at(&what, "openat"))?;
    let taken = descriptor::take_over(blank, number)?;
    stasis_sys::fcntl::set_status_flags(taken.as_fd(), file.flags & !O_ACCMODE)
        .map_err(Error::at(what, "F_SETFL"))?;
    thawing.keep_file(id, taken);
    Ok(())
}

/// Runs calls on a file that a blank has as descriptor 0 meanwhile.
fn call_on(
    file: BorrowedFd<'_>,
    blank: &mut Blank,
    channel: &Channel,
    calls: impl FnOnce(&mut Batch),
) -> Result<()> {
    channel.send(blank.pid(), &[file])?;
    let mut batch = Batch::new();
    channel.receive(&mut batch);
    calls(&mut batch);
    batch.call("close", CLOSE, [0.into()]);
    blank.run(&batch)?;
    Ok(())
}

/// An open file of a terminal.
struct Named<'a> {
    id: FileId,
    open: &'a OpenFile,
    terminal: TtyId,
    path: &'a Path,
    mode: Option<u32>,
}

fn terminal_files(tree: &Tree) -> Vec<Named<'_>> {
    tree.files.iter().filter_map(|(id, open)| named(*id, open)).collect()
}

fn named(id: FileId, open: &OpenFile) -> Option<Named<'_>> {
    let FileKind::Terminal(TerminalFile { terminal, path, .. }) = &open.kind else { return None };
    Some(Named { id, open, terminal: *terminal, path: &path.path, mode: path.mode })
}

fn pty(terminal: &Terminal) -> Option<u32> {
    match terminal.kind {
        TerminalKind::PtyMaster { index } | TerminalKind::PtySlave { index } => Some(index),
        _ => None,
    }
}

/// For messages.
fn name(index: u32) -> String {
    format!("/dev/pts/{index}")
}

/// Where masters of the terminal's file system are opened.
fn multiplexer(index: u32, files: &[Named<'_>]) -> PathBuf {
    let of = |id| files.iter().find(move |file| file.terminal == id).map(|file| file.path);
    if let Some(path) = of(master_id(index)) {
        return path.to_owned();
    }
    let parent = of(slave_id(index)).and_then(Path::parent).unwrap_or(Path::new("/dev/pts"));
    parent.join("ptmx")
}

fn open_peer(index: u32, master: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    ioctl::open_pty_peer(master.as_fd(), flags.bits().cast_signed())
        .map_err(Error::at(name(index), "ioctl(TIOCGPTPEER)"))
}

/// Another open file description of a terminal at hand.
fn reopen(file: BorrowedFd<'_>, flags: u32, what: &str) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::from_bits_retain(flags) | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::at(what, "open"))
}

fn set_state(
    index: u32,
    ends: &Ends,
    master: Option<&Terminal>,
    slave: Option<&Terminal>,
) -> Result<()> {
    let what = name(index);
    let Some(any) = ends.slave.as_ref().or(ends.master.as_ref()) else { return Ok(()) };
    let pair = Pair {
        what: &what,
        slave: ends.slave.as_ref().map(AsFd::as_fd),
        master: ends.master.as_ref().map(AsFd::as_fd),
    };
    if let Some(terminal) = slave.or(master) {
        set_modes(&what, any.as_fd(), pair, terminal, slave)?;
    }
    if let (Some(terminal), Some(file)) = (slave, &ends.slave) {
        set_owner(&what, file, terminal, ends.whose)?;
        set_exclusive(&what, file.as_fd(), terminal)?;
    }
    let (Some(terminal), Some(file)) = (master, &ends.master) else { return Ok(()) };
    queue::thaw_output(pair, &terminal.input)?;
    set_exclusive(&what, file.as_fd(), terminal)?;
    if terminal.packet_mode {
        ioctl::set_packet_mode(file.as_fd(), true).map_err(Error::at(&what, "ioctl(TIOCPKT)"))?;
    }
    if terminal.locked {
        ioctl::set_pty_lock(file.as_fd(), true).map_err(Error::at(&what, "ioctl(TIOCSPTLCK)"))?;
    }
    Ok(())
}

/// Modes and size, and what was typed, which goes with the modes.
fn set_modes(
    what: &str,
    any: BorrowedFd<'_>,
    pair: Pair<'_>,
    terminal: &Terminal,
    slave: Option<&Terminal>,
) -> Result<()> {
    if let Some(window) = terminal.window {
        let size = [window.rows, window.columns, window.x_pixels, window.y_pixels];
        ioctl::set_window_size(any, size).map_err(Error::at(what, "ioctl(TIOCSWINSZ)"))?;
    }
    if let Some(termios) = &terminal.termios {
        let modes = to_kernel(what, termios)?;
        match slave {
            Some(slave) => queue::thaw_input(pair, &modes, &slave.input)?,
            None => {
                ioctl::set_terminal_modes(any, &modes).map_err(Error::at(what, "ioctl(TCSETS2)"))?
            }
        }
    }
    if let Some(locked) = terminal.termios_locked.as_ref().filter(|it| **it != Termios::default()) {
        ioctl::set_locked_modes(any, &to_kernel(what, locked)?)
            .map_err(Error::at(what, "ioctl(TIOCSLCKTRMIOS)"))?;
    }
    Ok(())
}

fn set_owner(what: &str, slave: &OwnedFd, terminal: &Terminal, whose: Whose) -> Result<()> {
    let Some((uid, gid)) = terminal.owner.filter(|_| whose == Whose::Tree) else { return Ok(()) };
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::fchown(slave, Some(uid), Some(gid)).map_err(Error::at(what, "fchown"))
}

fn set_exclusive(what: &str, end: BorrowedFd<'_>, terminal: &Terminal) -> Result<()> {
    if !terminal.exclusive {
        return Ok(());
    }
    ioctl::set_exclusive(end).map_err(Error::at(what, "ioctl(TIOCEXCL)"))
}

/// The shell's terminal gets the modes only if we are in its foreground.
fn set_modes_in_foreground(index: u32, ends: &Ends, terminal: &Terminal) -> Result<()> {
    let (Some(slave), Some(termios)) = (&ends.slave, &terminal.termios) else { return Ok(()) };
    if !is_foreground(ends) {
        return Ok(());
    }
    let what = name(index);
    ioctl::set_terminal_modes(slave.as_fd(), &to_kernel(&what, termios)?)
        .map_err(Error::at(what, "ioctl(TCSETS2)"))
}

/// Whether our group is in the foreground of a terminal.
fn is_foreground(ends: &Ends) -> bool {
    let group = ends.slave.as_ref().and_then(|slave| rustix::termios::tcgetpgrp(slave).ok());
    group == Some(rustix::process::getpgrp())
}

fn to_kernel(what: &str, termios: &Termios) -> Result<KernelTermios> {
    let Ok(line) = u8::try_from(termios.line) else {
        let reason = format!("line discipline {}", termios.line);
        return Err(Error::Unsupported { object: what.into(), reason });
    };
    Ok(KernelTermios {
        input: termios.input,
        output: termios.output,
        control: termios.control,
        local: termios.local,
        line,
        characters: termios.characters,
        input_speed: termios.input_speed,
        output_speed: termios.output_speed,
    })
}
