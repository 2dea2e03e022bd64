//! Both ends of a pseudoterminal within the tree: settings, size and data in both directions.

use std::{fs::File, io::{Read, Write}};

use rustix::termios::{LocalModes, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::prelude::*;

pub const GOAL: &str = "a pseudoterminal whose two ends are in the tree survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (master, slave) = super::open_terminal()?;
    let mut settings = tcgetattr(&slave)?;
    settings.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON);
    tcsetattr(&slave, rustix::termios::OptionalActions::Now, &settings)?;
    tcsetwinsize(&slave, Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 5, ws_ypixel: 6 })?;
    let (mut master, mut slave) = (File::from(master), File::from(slave));
    slave.write_all(b"output")?;
    master.write_all(b"input")?;
    let look = || -> anyhow::Result<Vec<String>> {
        let t = tcgetattr(&slave)?;
        Ok(vec![
            format!("{:?} {:?}", t.local_modes, t.input_modes),
            format!("{:?}", tcgetwinsize(&master)?),
            std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&slave)))?
                .display()
                .to_string(),
        ])
    };
    crate::files::keep(stage, look)?;
    let mut bytes = [0; 5];
    slave.read_exact(&mut bytes)?;
    ensure!(&bytes == b"input", "{bytes:?}");
    let mut bytes = [0; 6];
    master.read_exact(&mut bytes)?;
    ensure!(&bytes == b"output", "{bytes:?}");
    Ok(())
}
