//! Freezing: descriptors as they are met, the terminals behind them when all are known.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{Mode, OFlags, major, minor};
use stasis_model::{
    FileKind, NsPid, Subject, Terminal, TerminalFile, TerminalKind, Termios, WindowSize,
};
use stasis_proctext::stat::Stat;
use stasis_sys::ioctl::{self, KernelTermios};

use super::{
    End, Found, Outside, controlling_id, controlling_index, identify, master_id, obstacles,
    of_leader,
    queue::{self, Pair, Unread},
    slave_id,
};
use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd, file_of},
    path_file,
    thawing::Thawing,
};

const O_ACCMODE: u32 = 3;
const O_WRONLY: u32 = 1;

/// What is known of the terminals of a tree while it is frozen.
#[derive(Debug, Default)]
pub struct Gathered {
    pub outside: Outside,
    found: Vec<Found>,
    ends: BTreeMap<(u32, Side), Seen>,
    hung_up: BTreeSet<u32>,
    members: Vec<Stat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Master,
    Slave,
    Controlling,
}

/// The first descriptor of an end.
#[derive(Debug)]
struct Seen {
    file: OwnedFd,
    flags: u32,
    subject: Subject,
    device: u64,
    rdev: u64,
    owner: (u32, u32),
}

/// Notes the session, group and controlling terminal of a process.
pub fn note_process(stat: &Stat, gathering: &mut Gathering) {
    gathering.terminals.members.push(stat.clone());
}

/// Freezes a descriptor; its terminal follows in [`resolve`].
pub fn freeze(open: &OpenFd, gathering: &mut Gathering) -> Result<Option<FileKind>> {
    let file = file_of(open)?;
    let end = match identify(file, open.stat.st_rdev) {
        Ok(end) => end,
        Err(reason) => {
            gathering.obstacle(open.subject(), reason, None);
            return Ok(None);
        }
    };
    let (id, index, side) = match end {
        End::Master(index) => (master_id(index), index, Some(Side::Master)),
        End::Slave(index) => (slave_id(index), index, Some(Side::Slave)),
        End::Controlling(index) => (controlling_id(index), index, Some(Side::Controlling)),
        End::HungUp(index) | End::Leads(index) => (slave_id(index), index, None),
    };
    match side {
        Some(side) => note_end(open, file, (index, side), gathering)?,
        None => {
            gathering.terminals.hung_up.insert(index);
            let terminal = Terminal { termios: None, ..blank(open, index) };
            gathering.tree.terminals.entry(id).or_insert(terminal);
        }
    }
    gathering.terminals.found.push(Found { end, subject: open.subject() });
    let (path, _) = path_file::without_deleted_mark(&open.link);
    let path = path_file::describe(path, &open.stat, open.flags());
    let path_id = gathering.new_file_id();
    Ok(Some(FileKind::Terminal(TerminalFile { terminal: id, path, path_id })))
}

fn note_end(
    open: &OpenFd,
    file: BorrowedFd<'_>,
    key: (u32, Side),
    gathering: &mut Gathering,
) -> Result<()> {
    let seen = gathering.terminals.ends.get(&key);
    if seen
        .is_some_and(|seen| seen.flags & O_ACCMODE != O_WRONLY && seen.device == open.stat.st_dev)
    {
        return Ok(());
    }
    if seen.is_some_and(|seen| seen.device != open.stat.st_dev && key.1 == Side::Slave) {
        let reason = "a terminal of a second file system of pseudoterminals (devpts)";
        gathering.obstacle(open.subject(), reason, None);
    }
    let seen = Seen {
        file: Thawing::duplicate(file, &open.what())?,
        flags: open.flags(),
        subject: open.subject(),
        device: open.stat.st_dev,
        rdev: open.stat.st_rdev,
        owner: (open.stat.st_uid, open.stat.st_gid),
    };
    gathering.terminals.ends.insert(key, seen);
    Ok(())
}

/// A hung-up slave: all that is left of it is its name.
fn blank(open: &OpenFd, index: u32) -> Terminal {
    Terminal {
        kind: TerminalKind::PtySlave { index },
        rdev: old_device(open.stat.st_rdev),
        device: u32::try_from(open.stat.st_dev).ok(),
        owner: Some((open.stat.st_uid, open.stat.st_gid)),
        locked: false,
        exclusive: false,
        packet_mode: false,
        session: None,
        foreground_group: None,
        termios: None,
        termios_locked: None,
        window: None,
        input: Vec::new(),
    }
}

/// Reads the terminals, when all descriptors and processes are known.
///
/// Unread data is taken out and put back; modes are changed for that and come back.
///
/// # Errors
/// [`Error::Kernel`] with everything put back as far as the kernel let us.
pub fn resolve(gathering: &mut Gathering) -> Result<()> {
    let mut known = std::mem::take(&mut gathering.terminals);
    find_leaders(&mut known, gathering);
    gathering.obstacles.extend(obstacles(&known.found, &known.outside));
    for index in &known.hung_up {
        if known.ends.contains_key(&(*index, Side::Slave)) {
            let reason = "a terminal that was hung up while it is open again";
            gathering.obstacle(Subject::Tree, format!("/dev/pts/{index}: {reason}"), None);
        }
    }
    // What waits is not touched for a checkpoint that will not be.
    if !gathering.obstacles.is_empty() {
        return Ok(());
    }
    let indices: BTreeSet<u32> = known.ends.keys().map(|(index, _)| *index).collect();
    for index in indices {
        freeze_terminal(index, &known, gathering)?;
    }
    Ok(())
}

/// Session leaders keep their terminal without a descriptor of it.
fn find_leaders(known: &mut Gathered, gathering: &mut Gathering) {
    for stat in &known.members {
        let name = String::from_utf8_lossy(&stat.name).into_owned();
        let subject = Subject::Task { pid: stat.pid, name };
        match of_leader(stat, &subject) {
            Some(Ok(found)) => known.found.push(found),
            Some(Err(reason)) => gathering.obstacle(subject, reason, None),
            None => {}
        }
    }
}

fn freeze_terminal(index: u32, known: &Gathered, gathering: &mut Gathering) -> Result<()> {
    let end = |side| known.ends.get(&(index, side));
    let (master, slave) = (end(Side::Master), end(Side::Slave));
    let control = control_of(index, known, gathering);
    let Some(seen) = master.or(slave).or_else(|| end(Side::Controlling)) else { return Ok(()) };
    let what = seen.subject.to_string();
    let state = State::read(&what, seen.file.as_fd())?;
    if state.termios.as_ref().is_some_and(|termios| termios.line != 0) {
        let reason = "a terminal with a line discipline other than N_TTY";
        gathering.obstacle(seen.subject.clone(), reason, None);
        return Ok(());
    }
    if let Some(seen) = end(Side::Controlling) {
        let kind = TerminalKind::Controlling;
        let terminal = state.clone().terminal(kind, seen, control, Vec::new());
        gathering.tree.terminals.insert(controlling_id(index), terminal);
        check_session(seen, control, known, gathering);
    }
    let holder = slave.or_else(|| end(Side::Controlling));
    let is_console = known.outside.console == Some(index);
    let unread = match read_queues(&what, master, holder, is_console, gathering)? {
        Some(unread) => unread,
        None => return Ok(()),
    };
    let lost_slave =
        master.map(|seen| queue::lost_its_slave(&what, seen.file.as_fd())).transpose()?;
    let opened_once = lost_slave == Some(true);
    if let Some(seen) = master {
        let kind = TerminalKind::PtyMaster { index };
        let mut terminal = state.clone().terminal(kind, seen, control, unread.output);
        ask_master(&mut terminal, seen.file.as_fd());
        gathering.tree.terminals.insert(master_id(index), terminal);
        if slave.is_none() && !opened_once && control.is_none() {
            let reason = "the other end of this terminal is not open in the tree; \
                          who has it open elsewhere loses it";
            gathering.loss(seen.subject.clone(), reason);
        }
    }
    if holder.is_some() || opened_once || control.is_some() {
        let kind = TerminalKind::PtySlave { index };
        let seen = holder.unwrap_or(seen);
        let mut terminal = state.terminal(kind, seen, control, unread.input);
        terminal.rdev = (136 + (index >> 8)) << 8 | index & 0xff;
        if slave.is_none() {
            terminal.owner = None;
        }
        terminal.exclusive = slave.is_some_and(|seen| is_on(seen.file.as_fd(), libc::TIOCGEXCL));
        gathering.tree.terminals.insert(slave_id(index), terminal);
    }
    Ok(())
}

/// What waits at both ends; nothing is looked for in the terminal of a shell, which stays there.
fn read_queues(
    what: &str,
    master: Option<&Seen>,
    slave: Option<&Seen>,
    is_console: bool,
    gathering: &mut Gathering,
) -> Result<Option<Unread>> {
    if master.is_none() && !is_console {
        return Ok(Some(Unread::default()));
    }
    let reader = slave.map(readable).transpose()?;
    let pair = Pair {
        what,
        slave: reader.as_ref().map(AsFd::as_fd),
        master: master.map(|seen| seen.file.as_fd()),
    };
    if let (Some(slave), Some(seen)) = (pair.slave, slave)
        && !queue::takes_output(what, slave)?
    {
        let reason = "that output to this terminal was held (^S, or a reader far behind)";
        gathering.loss(seen.subject.clone(), reason);
    }
    match queue::peek(pair) {
        Ok(unread) => Ok(Some(unread)),
        Err(Error::Unsupported { reason, .. }) => {
            let subject = master.or(slave).map_or(Subject::Tree, |seen| seen.subject.clone());
            gathering.obstacle(subject, reason, None);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A descriptor for reading, whatever the one at hand was opened for.
fn readable(seen: &Seen) -> Result<OwnedFd> {
    let what = seen.subject.to_string();
    if seen.flags & O_ACCMODE != O_WRONLY {
        return Thawing::duplicate(seen.file.as_fd(), &what);
    }
    let path = format!("/proc/self/fd/{}", seen.file.as_raw_fd());
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(Path::new(&path), flags, Mode::empty())
        .map_err(Error::at(what, "open for reading"))
}

/// The session that a terminal controls, and the group in its foreground.
#[derive(Clone, Copy, Debug)]
struct Control {
    session: NsPid,
    foreground: Option<NsPid>,
}

fn control_of(index: u32, known: &Gathered, gathering: &mut Gathering) -> Option<Control> {
    let member = known.members.iter().find(|stat| controlling_index(stat) == Some(index))?;
    let of = |stat: &Stat| {
        let own = gathering.own_id(stat.pid)?;
        gathering.tree.process(own).map(|process| (process.session, process.group))
    };
    let (session, _) = of(member)?;
    let group = member.terminal_group;
    let in_group = known.members.iter().find(|stat| stat.group == group);
    let foreground = in_group.and_then(of).map(|(_, group)| group);
    // A group of zombies only has its leader among them, or nobody to tell.
    let foreground = foreground.or_else(|| gathering.own_id(group));
    let leads = gathering.tree.process(session).is_some();
    if foreground.is_none() && leads {
        let reason = format!("its foreground group, {group}, which has no process");
        gathering.loss(Subject::Tree, format!("terminal /dev/pts/{index}: {reason}"));
    }
    Some(Control { session, foreground })
}

/// `/dev/tty` is opened again by a process of the session.
fn check_session(
    seen: &Seen,
    control: Option<Control>,
    known: &Gathered,
    gathering: &mut Gathering,
) {
    let leader = control.and_then(|control| gathering.tree.process(control.session));
    if leader.is_none() && known.outside.shell.is_none() {
        let reason = "the terminal of a session outside the tree, opened as /dev/tty";
        gathering.obstacle(seen.subject.clone(), reason, None);
    }
}

/// What both ends show.
#[derive(Clone, Debug, Default)]
struct State {
    termios: Option<Termios>,
    locked: Option<Termios>,
    window: Option<WindowSize>,
}

impl State {
    fn read(what: &str, file: BorrowedFd<'_>) -> Result<State> {
        let modes = ioctl::terminal_modes(file).map_err(Error::at(what, "ioctl(TCGETS2)"))?;
        let locked = ioctl::locked_modes(file).map_err(Error::at(what, "ioctl(TIOCGLCKTRMIOS)"))?;
        let [rows, columns, x_pixels, y_pixels] =
            ioctl::window_size(file).map_err(Error::at(what, "ioctl(TIOCGWINSZ)"))?;
        Ok(State {
            termios: Some(to_model(&modes)),
            locked: Some(to_model(&locked)),
            window: Some(WindowSize { rows, columns, x_pixels, y_pixels }),
        })
    }

    fn terminal(
        self,
        kind: TerminalKind,
        seen: &Seen,
        control: Option<Control>,
        input: Vec<u8>,
    ) -> Terminal {
        Terminal {
            kind,
            rdev: old_device(seen.rdev),
            device: u32::try_from(seen.device).ok(),
            owner: Some(seen.owner),
            locked: false,
            exclusive: false,
            packet_mode: false,
            session: control.map(|control| control.session),
            foreground_group: control.and_then(|control| control.foreground),
            termios: self.termios,
            termios_locked: self.locked,
            window: self.window,
            input,
        }
    }
}

/// What only the master knows.
fn ask_master(terminal: &mut Terminal, master: BorrowedFd<'_>) {
    terminal.locked = is_on(master, libc::TIOCGPTLCK);
    terminal.exclusive = is_on(master, libc::TIOCGEXCL);
    terminal.packet_mode = is_on(master, libc::TIOCGPKT);
}

fn is_on(file: BorrowedFd<'_>, request: u64) -> bool {
    ioctl::get_int(file, request).is_ok_and(|on| on != 0)
}

fn to_model(modes: &KernelTermios) -> Termios {
    Termios {
        input: modes.input,
        output: modes.output,
        control: modes.control,
        local: modes.local,
        line: modes.line.into(),
        input_speed: modes.input_speed,
        output_speed: modes.output_speed,
        characters: modes.characters,
    }
}

/// Major and minor in the old form of 16 bits.
fn old_device(rdev: u64) -> u32 {
    major(rdev) << 8 | minor(rdev) & 0xff
}
