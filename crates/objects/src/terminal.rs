//! Pseudoterminals, pty(7): a master and a slave, of which the tree has one or both.
//!
//! A slave whose master lies outside is the console of a container, whose new master the caller
//! makes, or the terminal of the shell that started the tree (`--shell-job`), whose place the
//! terminal of the restoring process takes. Modes, size and group are the same seen from both ends.

mod freeze;
mod queue;
mod thaw;

use std::os::fd::BorrowedFd;

use rustix::fs::{major, minor};
use stasis_model::{Obstacle, Subject, TtyId};
use stasis_sys::{Errno, ioctl};

pub use freeze::{Gathered, freeze, note_process, resolve};
pub use thaw::{Foreground, Opened, controlling_files, own_terminal, thaw_controlling};

/// What a descriptor of a terminal is an end of, by the number in `/dev/pts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Master(u32),
    Slave(u32),
    /// Opened as `/dev/tty`.
    Controlling(u32),
    /// A slave whose master was closed.
    HungUp(u32),
    /// No descriptor: the terminal that a session leader has, whether it is open or not.
    Leads(u32),
}

/// An end with its holder in the user's words.
#[derive(Clone, Debug)]
pub struct Found {
    pub end: End,
    pub subject: Subject,
}

/// Which terminals may have their master outside the tree.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The one whose successor the caller hands over.
    pub console: Option<u32>,
    /// The one that the root's shell is on, if the tree is its job.
    pub shell: Option<ShellTerminal>,
}

/// The controlling terminal of the root of a shell's job, if it has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShellTerminal(pub Option<u32>);

const PTS_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// Tells which end a descriptor is, or why it cannot be kept.
pub fn identify(file: BorrowedFd<'_>, rdev: u64) -> Result<End, String> {
    let unknown = |errno: Errno| format!("a terminal that does not tell what it is: {errno}");
    match (major(rdev), minor(rdev)) {
        (5, 2) => ioctl::pty_index(file).map(End::Master).map_err(unknown),
        (5, 0) => match ioctl::terminal_device(file) {
            Ok((major, minor)) => index_of(major, minor)
                .map(End::Controlling)
                .ok_or_else(|| format!("the terminal {major}:{minor}, which is no pseudoterminal")),
            Err(Errno::IO) => Err("a terminal that was hung up, opened as /dev/tty".into()),
            Err(errno) => Err(unknown(errno)),
        },
        (major, minor) => {
            let index = index_of(major, minor).ok_or("a terminal that is no pseudoterminal")?;
            match ioctl::terminal_modes(file) {
                Ok(_) => Ok(End::Slave(index)),
                Err(Errno::IO) => Ok(End::HungUp(index)),
                Err(errno) => Err(unknown(errno)),
            }
        }
    }
}

/// Number in `/dev/pts` of a device.
fn index_of(major: u32, minor: u32) -> Option<u32> {
    PTS_MAJORS.contains(&major).then(|| (major - PTS_MAJORS.start()) * 256 + minor)
}

/// The controlling terminal as proc_pid_stat(5) tells it: major and minor.
fn controlling_device(terminal: u32) -> Option<(u32, u32)> {
    (terminal != 0).then_some((terminal >> 8 & 0xfff, terminal & 0xff | terminal >> 12 & 0xf_ff00))
}

/// Number of the controlling terminal in `/dev/pts`.
pub fn controlling_index(stat: &stasis_proctext::stat::Stat) -> Option<u32> {
    controlling_device(stat.terminal).and_then(|(major, minor)| index_of(major, minor))
}

/// A session leader needs its terminal even if it has no descriptor of it.
pub fn of_leader(
    stat: &stasis_proctext::stat::Stat,
    subject: &Subject,
) -> Option<Result<Found, String>> {
    let device = controlling_device(stat.terminal).filter(|_| stat.session == stat.pid);
    device.map(|(major, minor)| match index_of(major, minor) {
        Some(index) => Ok(Found { end: End::Leads(index), subject: subject.clone() }),
        None => {
            Err(format!("its controlling terminal is {major}:{minor}, which is no pseudoterminal"))
        }
    })
}

/// The number at the end of `/dev/pts/NUMBER`.
pub fn index_in_path(path: &std::path::Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Terminals whose master is neither in the tree nor held by who may hold it.
pub fn obstacles(found: &[Found], outside: &Outside) -> Vec<Obstacle> {
    let masters: Vec<u32> = found.iter().filter_map(Found::master).collect();
    let is_kept = |index: u32| masters.contains(&index) || outside.console == Some(index);
    let mut told = Vec::new();
    let mut obstacles = Vec::new();
    for one in found {
        // Its successor controls the session of the shell that restores.
        let End::Leads(index) = one.end else { continue };
        if !is_kept(index) && !told.contains(&index) {
            told.push(index);
            let hint = "checkpoint the program that holds the master with it, as script(1) does";
            let reason = "leads a session on a terminal whose master is outside the tree";
            obstacles.push(one.obstacle(reason, Some(hint)));
        }
    }
    let mut shell = outside.shell.and_then(|shell| shell.0);
    for one in found {
        let (End::Slave(index) | End::Controlling(index)) = one.end else { continue };
        if is_kept(index) || told.contains(&index) {
            continue;
        }
        if outside.shell.is_some() && index == *shell.get_or_insert(index) {
            continue;
        }
        told.push(index);
        obstacles.push(match outside.shell {
            Some(_) => one.obstacle(
                "the master of this terminal is outside the tree, and it is not the shell's",
                None,
            ),
            None => one.obstacle(
                "the master of this terminal is outside the tree",
                Some("if the tree is the job of a shell on this terminal, use --shell-job"),
            ),
        });
    }
    obstacles
}

impl Found {
    fn obstacle(&self, reason: &str, hint: Option<&str>) -> Obstacle {
        Obstacle::lasting(self.subject.clone(), reason, hint)
    }

    fn master(&self) -> Option<u32> {
        match self.end {
            End::Master(index) => Some(index),
            End::Slave(_) | End::Controlling(_) | End::HungUp(_) | End::Leads(_) => None,
        }
    }
}

fn master_id(index: u32) -> TtyId {
    TtyId(index << 1 | 1)
}

fn slave_id(index: u32) -> TtyId {
    TtyId(index << 1)
}

/// Apart from the ids of pseudoterminals, whose numbers are small.
fn controlling_id(index: u32) -> TtyId {
    TtyId(1 << 30 | index << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(end: End) -> Found {
        Found { end, subject: Subject::Tree }
    }

    #[test]
    fn a_master_outside_is_an_obstacle_told_once() {
        let slaves = [found(End::Slave(3)), found(End::Controlling(3))];
        let told = obstacles(&slaves, &Outside::default());
        assert_eq!(told.len(), 1);
        assert!(told[0].reason.contains("terminal"));
        assert!(told[0].hint.as_ref().unwrap().contains("--shell-job"));
        let pair = [found(End::Slave(3)), found(End::Master(3)), found(End::HungUp(9))];
        assert!(obstacles(&pair, &Outside::default()).is_empty());
        let console = Outside { console: Some(3), shell: None };
        assert!(obstacles(&slaves, &console).is_empty());
    }

    #[test]
    fn a_job_has_one_shell_terminal() {
        let slaves = [found(End::Slave(3)), found(End::Slave(4))];
        let job = |index| Outside { console: None, shell: Some(ShellTerminal(index)) };
        assert_eq!(obstacles(&slaves[..1], &job(None)).len(), 0);
        assert_eq!(obstacles(&slaves, &job(Some(4))).len(), 1);
        assert_eq!(obstacles(&slaves, &job(None)).len(), 1);
    }

    #[test]
    fn a_session_leader_cannot_share_the_shells_terminal() {
        let job = Outside { console: None, shell: Some(ShellTerminal(Some(3))) };
        let leader = [found(End::Slave(3)), found(End::Leads(3))];
        let told = obstacles(&leader, &job);
        assert_eq!(told.len(), 1);
        assert!(told[0].reason.contains("leads a session"));
        let console = Outside { console: Some(3), shell: None };
        assert!(obstacles(&leader, &console).is_empty());
    }

    #[test]
    fn numbers_of_devices() {
        assert_eq!(index_of(136, 5), Some(5));
        assert_eq!(index_of(137, 1), Some(257));
        assert_eq!(index_of(4, 1), None);
        // As in proc_pid_stat(5): 34816 is 136:0.
        assert_eq!(controlling_device(34816), Some((136, 0)));
        assert_eq!(controlling_device(0), None);
        assert_eq!(index_in_path("/dev/pts/12".as_ref()), Some(12));
        assert_eq!(index_in_path("/dev/console".as_ref()), None);
    }
}
