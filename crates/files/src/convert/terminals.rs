//! Terminals.

use std::collections::BTreeMap;

use stasis_model::{NsPid, Terminal, TerminalKind, Termios, TtyId, WindowSize};

use super::source::{Input, Output};
use crate::{
    Error, Result,
    error::Place,
    wire::tty::{TermiosEntry, TtyDataEntry, TtyInfoEntry, TtyPtyEntry, WinsizeEntry},
};

const INFO: &str = "tty-info.img";
const DATA: &str = "tty-data.img";

/// Numbers of `TtyType`.
mod tty_type {
    pub const PTY: u32 = 1;
    pub const CONSOLE: u32 = 2;
    pub const VT: u32 = 3;
    pub const CTTY: u32 = 4;
    pub const EXT_TTY: u32 = 5;
    pub const SERIAL: u32 = 6;
}

/// Number of control characters, and of the words that hold them.
const CONTROL_CHARACTERS: usize = 19;
const WORDS_USED: usize = CONTROL_CHARACTERS.div_ceil(4);

pub(super) fn encode(terminals: &BTreeMap<TtyId, Terminal>, out: &mut Output) -> Result<()> {
    let infos = terminals.iter().map(|(id, terminal)| encode_info(*id, terminal));
    out.all(INFO, &infos.collect::<Result<Vec<_>>>()?);
    let with_input = terminals.iter().filter(|(_, terminal)| !terminal.input.is_empty());
    let data = |(id, terminal): (&TtyId, &Terminal)| TtyDataEntry {
        tty_id: id.0,
        data: terminal.input.clone(),
    };
    out.all(DATA, &with_input.map(data).collect::<Vec<_>>());
    Ok(())
}

pub(super) fn decode(input: Input) -> Result<BTreeMap<TtyId, Terminal>> {
    let mut terminals = BTreeMap::new();
    let infos: Vec<TtyInfoEntry> = input.all(INFO)?;
    for (index, info) in infos.iter().enumerate() {
        let place = Place::new(INFO, index + 1);
        if terminals.insert(TtyId(info.id), decode_info(place, info)?).is_some() {
            return Err(place.field("id", format!("{} occurs twice", info.id)));
        }
    }
    let data: Vec<TtyDataEntry> = input.all(DATA)?;
    for (index, entry) in data.into_iter().enumerate() {
        let terminal = terminals.get_mut(&TtyId(entry.tty_id)).ok_or_else(|| {
            let reason = format!("there is no terminal {}", entry.tty_id);
            Place::new(DATA, index + 1).field("tty_id", reason)
        })?;
        terminal.input.extend(entry.data);
    }
    Ok(terminals)
}

fn encode_info(id: TtyId, terminal: &Terminal) -> Result<TtyInfoEntry> {
    let (tty_type, pty) = encode_kind(id, terminal.kind)?;
    let pid = |pid: Option<NsPid>| pid.map_or(0, |pid| pid.0.cast_unsigned());
    Ok(TtyInfoEntry {
        id: id.0,
        r#type: tty_type,
        locked: terminal.locked,
        exclusive: terminal.exclusive,
        packet_mode: terminal.packet_mode,
        sid: pid(terminal.session),
        pgrp: pid(terminal.foreground_group),
        rdev: terminal.rdev,
        termios: terminal.termios.as_ref().map(encode_termios),
        termios_locked: terminal.termios_locked.as_ref().map(encode_termios),
        winsize: terminal.window.as_ref().map(encode_window),
        pty,
        dev: terminal.device,
        uid: terminal.owner.map(|(uid, _)| uid),
        gid: terminal.owner.map(|(_, gid)| gid),
    })
}

fn encode_kind(id: TtyId, kind: TerminalKind) -> Result<(u32, Option<TtyPtyEntry>)> {
    let pty = |index, is_master: u32| {
        // The last bit is all that tells the ends apart.
        if id.0 & 1 != is_master {
            let reason = format!("its number {id} belongs to the other end");
            return Err(Error::unwritable(format!("pseudoterminal {index}"), reason));
        }
        Ok((tty_type::PTY, Some(TtyPtyEntry { index })))
    };
    match kind {
        TerminalKind::PtyMaster { index } => pty(index, 1),
        TerminalKind::PtySlave { index } => pty(index, 0),
        TerminalKind::Console => Ok((tty_type::CONSOLE, None)),
        TerminalKind::VirtualTerminal => Ok((tty_type::VT, None)),
        TerminalKind::Controlling => Ok((tty_type::CTTY, None)),
        TerminalKind::External => Ok((tty_type::EXT_TTY, None)),
        TerminalKind::Serial => Ok((tty_type::SERIAL, None)),
    }
}

fn decode_info(place: Place, info: &TtyInfoEntry) -> Result<Terminal> {
    let pid = |field, id: u32| match i32::try_from(id) {
        Ok(0) => Ok(None),
        Ok(id) => Ok(Some(NsPid(id))),
        Err(_) => Err(place.field(field, format!("{id} is no process id"))),
    };
    let termios = |entry: &Option<TermiosEntry>| {
        entry.as_ref().map(|entry| decode_termios(place, entry)).transpose()
    };
    Ok(Terminal {
        kind: decode_kind(place, info)?,
        rdev: info.rdev,
        device: info.dev,
        owner: info.uid.zip(info.gid),
        locked: info.locked,
        exclusive: info.exclusive,
        packet_mode: info.packet_mode,
        session: pid("sid", info.sid)?,
        foreground_group: pid("pgrp", info.pgrp)?,
        termios: termios(&info.termios)?,
        termios_locked: termios(&info.termios_locked)?,
        window: info.winsize.as_ref().map(|window| decode_window(place, window)).transpose()?,
        input: Vec::new(),
    })
}

fn decode_kind(place: Place, info: &TtyInfoEntry) -> Result<TerminalKind> {
    match info.r#type {
        tty_type::PTY => {
            let index = place.need(info.pty.as_ref(), "pty")?.index;
            let is_master = info.id & 1 == 1;
            Ok(if is_master {
                TerminalKind::PtyMaster { index }
            } else {
                TerminalKind::PtySlave { index }
            })
        }
        tty_type::CONSOLE => Ok(TerminalKind::Console),
        tty_type::VT => Ok(TerminalKind::VirtualTerminal),
        tty_type::CTTY => Ok(TerminalKind::Controlling),
        tty_type::EXT_TTY => Ok(TerminalKind::External),
        tty_type::SERIAL => Ok(TerminalKind::Serial),
        other => Err(place.field("type", format!("{other} is not known"))),
    }
}

fn encode_termios(termios: &Termios) -> TermiosEntry {
    let mut c_cc: Vec<u32> = termios.characters.chunks(4).map(word).collect();
    c_cc.resize(CONTROL_CHARACTERS, 0);
    TermiosEntry {
        c_iflag: termios.input,
        c_oflag: termios.output,
        c_cflag: termios.control,
        c_lflag: termios.local,
        c_line: termios.line,
        c_ispeed: termios.input_speed,
        c_ospeed: termios.output_speed,
        c_cc,
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The characters are the bytes of the first words; the words after them mean nothing.
fn decode_termios(place: Place, entry: &TermiosEntry) -> Result<Termios> {
    if entry.c_cc.len() < WORDS_USED {
        return Err(place.field("c_cc", format!("has fewer than {WORDS_USED} words")));
    }
    let mut characters = [0; CONTROL_CHARACTERS];
    let bytes = entry.c_cc.iter().flat_map(|word| word.to_le_bytes());
    for (character, byte) in characters.iter_mut().zip(bytes) {
        *character = byte;
    }
    Ok(Termios {
        input: entry.c_iflag,
        output: entry.c_oflag,
        control: entry.c_cflag,
        local: entry.c_lflag,
        line: entry.c_line,
        input_speed: entry.c_ispeed,
        output_speed: entry.c_ospeed,
        characters,
    })
}

fn encode_window(window: &WindowSize) -> WinsizeEntry {
    WinsizeEntry {
        ws_row: window.rows.into(),
        ws_col: window.columns.into(),
        ws_xpixel: window.x_pixels.into(),
        ws_ypixel: window.y_pixels.into(),
    }
}

fn decode_window(place: Place, entry: &WinsizeEntry) -> Result<WindowSize> {
    let number = |number: u32| {
        u16::try_from(number).map_err(|_| place.field("winsize", "does not fit into 16 bits"))
    };
    Ok(WindowSize {
        rows: number(entry.ws_row)?,
        columns: number(entry.ws_col)?,
        x_pixels: number(entry.ws_xpixel)?,
        y_pixels: number(entry.ws_ypixel)?,
    })
}
