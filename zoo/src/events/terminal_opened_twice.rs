//! A slave that was opened three times in different ways, with another owner and mode; each open
//! file description has its own flags, the terminal is one.

use std::{fs::File, io::{Read, Write}, os::unix::fs::{MetadataExt, PermissionsExt}};

use rustix::fs::{Mode, OFlags, open};

use crate::prelude::*;

pub const GOAL: &str = "open file descriptions of one slave stay apart, its owner and mode stay";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (master, slave) = super::open_terminal()?;
    let name = rustix::termios::ttyname(&slave, Vec::new())?;
    let path = name.to_str()?;
    std::os::unix::fs::chown(path, Some(1234), Some(5678))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640))?;
    let writer = open(path, OFlags::WRONLY | OFlags::NOCTTY | OFlags::APPEND, Mode::empty())?;
    let reader = open(path, OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK, Mode::empty())?;
    let look = || -> anyhow::Result<Vec<String>> {
        let mut all = crate::files::flags(&[&slave, &writer, &reader, &master])?;
        let node = std::fs::metadata(path)?;
        all.push(format!("{} {} {:o}", node.uid(), node.gid(), node.mode()));
        Ok(all)
    };
    crate::files::keep(stage, look)?;
    let (mut master, mut writer, mut reader) =
        (File::from(master), File::from(writer), File::from(reader));
    let mut bytes = [0; 100];
    let empty = reader.read(&mut bytes).map_err(|error| error.kind());
    ensure!(empty == Err(std::io::ErrorKind::WouldBlock), "{empty:?}");
    writer.write_all(b"out")?;
    let len = master.read(&mut bytes)?;
    ensure!(&bytes[..len] == b"out");
    master.write_all(b"in\n")?;
    let len = File::from(slave).read(&mut bytes)?;
    ensure!(&bytes[..len] == b"in\n");
    Ok(())
}
