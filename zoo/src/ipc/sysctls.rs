//! Limits of the IPC namespace that are not those of a new one.

use crate::prelude::*;

pub const GOAL: &str = "limits and settings of an IPC namespace are kept";
pub const KIND: Kind = Kind::Survives;

const SETTINGS: [(&str, &str); 7] = [
    ("kernel/shmmax", "12345678"),
    ("kernel/shmmni", "77"),
    ("kernel/shm_rmid_forced", "1"),
    ("kernel/msgmax", "4096"),
    ("kernel/msgmnb", "5000"),
    ("kernel/sem", "100\t2000\t30\t40"),
    ("fs/mqueue/msg_max", "9"),
];

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    // Larger than what may be made afterwards.
    let id = super::new_memory(0, 1 << 24)?;
    let memory = super::attach(id, 1 << 24, 0)?;
    for (name, value) in SETTINGS {
        std::fs::write(format!("/proc/sys/{name}"), value).with_context(|| name.to_owned())?;
    }
    stage.pause()?;
    for (name, value) in SETTINGS {
        ensure!(super::sysctl(name)? == value, "{name} is {}", super::sysctl(name)?);
    }
    // By shm_rmid_forced it goes with its last attachment.
    super::detach(&memory)?;
    ensure!(super::object("shm", id).is_err(), "it did not go");
    Ok(())
}
