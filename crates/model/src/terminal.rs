//! Terminals.

use crate::{FileId, NsPid, PathFile, TtyId};

/// An open terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalFile {
    pub terminal: TtyId,
    pub path: PathFile,
    /// Id of the path's own record in foreign checkpoints.
    pub path_id: FileId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    pub kind: TerminalKind,
    /// Device number of the terminal, major << 8 | minor.
    pub rdev: u32,
    /// Device number of the file system that holds the node.
    pub device: Option<u32>,
    pub owner: Option<(u32, u32)>,
    pub locked: bool,
    pub exclusive: bool,
    pub packet_mode: bool,
    /// The session that it controls.
    pub session: Option<NsPid>,
    pub foreground_group: Option<NsPid>,
    /// `None`: hung up.
    pub termios: Option<Termios>,
    pub termios_locked: Option<Termios>,
    pub window: Option<WindowSize>,
    /// Bytes typed and not yet read.
    pub input: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalKind {
    PtyMaster {
        index: u32,
    },
    PtySlave {
        index: u32,
    },
    Console,
    VirtualTerminal,
    /// `/dev/tty`
    Controlling,
    External,
    Serial,
}

/// `struct termios` of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Termios {
    pub input: u32,
    pub output: u32,
    pub control: u32,
    pub local: u32,
    pub line: u32,
    pub input_speed: u32,
    pub output_speed: u32,
    pub characters: [u8; 19],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
    pub x_pixels: u16,
    pub y_pixels: u16,
}
