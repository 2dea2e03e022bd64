//! Terminals.

use super::fown::FownEntry;

/// `tty_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TtyFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Which `tty_info_entry`.
    #[prost(uint32, required, tag = "2")]
    pub tty_info_id: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "3")]
    pub flags: u32,
    /// Signal owner.
    #[prost(message, required, tag = "4")]
    pub fown: FownEntry,
    /// File id of the REG entry with the device path.
    #[prost(uint32, optional, tag = "6")]
    pub regf_id: Option<u32>,
}

/// `tty_info_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TtyInfoEntry {
    /// Terminal id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// PTY 1, CONSOLE 2, VT 3, CTTY 4 (/dev/tty), EXT_TTY 5, SERIAL 6.
    #[prost(uint32, required, tag = "2")]
    pub r#type: u32,
    /// PTY lock.
    #[prost(bool, required, tag = "3")]
    pub locked: bool,
    /// TIOCEXCL.
    #[prost(bool, required, tag = "4")]
    pub exclusive: bool,
    /// Packet mode (master).
    #[prost(bool, required, tag = "5")]
    pub packet_mode: bool,
    /// Session this is the controlling terminal of, else 0.
    #[prost(uint32, required, tag = "6")]
    pub sid: u32,
    /// Foreground process group, else 0.
    #[prost(uint32, required, tag = "7")]
    pub pgrp: u32,
    /// Device number of the terminal (`st_rdev`, old 16-bit form major << 8 | minor).
    #[prost(uint32, required, tag = "8")]
    pub rdev: u32,
    /// Absent = the terminal is hung up.
    #[prost(message, optional, tag = "9")]
    pub termios: Option<TermiosEntry>,
    /// Required together with `termios` for a PTY master.
    #[prost(message, optional, tag = "10")]
    pub termios_locked: Option<TermiosEntry>,
    /// Required together with `termios` for a PTY master.
    #[prost(message, optional, tag = "11")]
    pub winsize: Option<WinsizeEntry>,
    /// Required for type PTY.
    #[prost(message, optional, tag = "12")]
    pub pty: Option<TtyPtyEntry>,
    /// Device number of the filesystem holding the node (devpts instance).
    #[prost(uint32, optional, tag = "13")]
    pub dev: Option<u32>,
    /// Owner of the node.
    #[prost(uint32, optional, tag = "14")]
    pub uid: Option<u32>,
    /// Group of the node.
    #[prost(uint32, optional, tag = "15")]
    pub gid: Option<u32>,
}

/// `termios_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TermiosEntry {
    /// Flags.
    #[prost(uint32, required, tag = "1")]
    pub c_iflag: u32,
    /// Flags.
    #[prost(uint32, required, tag = "2")]
    pub c_oflag: u32,
    /// Flags.
    #[prost(uint32, required, tag = "3")]
    pub c_cflag: u32,
    /// Flags.
    #[prost(uint32, required, tag = "4")]
    pub c_lflag: u32,
    /// Line discipline.
    #[prost(uint32, required, tag = "5")]
    pub c_line: u32,
    /// Speed.
    #[prost(uint32, required, tag = "6")]
    pub c_ispeed: u32,
    /// Speed.
    #[prost(uint32, required, tag = "7")]
    pub c_ospeed: u32,
    /// At least 19 words.
    #[prost(uint32, repeated, packed = "false", tag = "8")]
    pub c_cc: Vec<u32>,
}

/// `winsize_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WinsizeEntry {
    /// Rows.
    #[prost(uint32, required, tag = "1")]
    pub ws_row: u32,
    /// Columns.
    #[prost(uint32, required, tag = "2")]
    pub ws_col: u32,
    /// Pixels.
    #[prost(uint32, required, tag = "3")]
    pub ws_xpixel: u32,
    /// Pixels.
    #[prost(uint32, required, tag = "4")]
    pub ws_ypixel: u32,
}

/// `tty_pty_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TtyPtyEntry {
    /// PTY number.
    #[prost(uint32, required, tag = "1")]
    pub index: u32,
}

/// `tty_data_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TtyDataEntry {
    /// Which terminal (the end whose *reader* gets the data).
    #[prost(uint32, required, tag = "1")]
    pub tty_id: u32,
    /// Queued bytes.
    #[prost(bytes = "vec", required, tag = "2")]
    pub data: Vec<u8>,
}
