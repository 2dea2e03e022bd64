//! The sysctls of the calling thread's IPC namespace (`/proc/sys/kernel` and `/proc/sys/fs/mqueue`).

use std::{fs, path::Path};

use stasis_files::IpcSysctls;

use crate::facade::Error;

/// Limits that nothing which was ever made goes beyond, and nothing that removes by itself.
pub const WIDE: IpcSysctls = {
    const MOST: u32 = i32::MAX.cast_unsigned();
    /// Identifiers have so many places (`IPCMNI`).
    const PLACES: u32 = 32768;
    IpcSysctls {
        sem: [MOST, MOST, MOST, PLACES],
        msgmax: MOST,
        msgmnb: MOST,
        msgmni: PLACES,
        auto_msgmni: 0,
        shmmax: u64::MAX,
        shmall: u64::MAX,
        shmmni: PLACES,
        shm_rmid_forced: 0,
        queues_max: 256,
        msg_max: 10,
        msgsize_max: 8192,
        msg_default: None,
        msgsize_default: None,
    }
};

/// Reads them all.
///
/// # Errors
/// [`Error::Failed`] if a value is missing.
pub fn read() -> Result<IpcSysctls, Error> {
    let value = |name: &str| -> Result<u64, Error> {
        let path = Path::new("/proc/sys").join(name);
        values(&path)?.pop().ok_or_else(|| failed("read", &path, "it is empty"))
    };
    let small = |name: &str| {
        let path = Path::new("/proc/sys").join(name);
        let small = u32::try_from(value(name)?);
        small.map_err(|_| failed("read", &path, "it is out of range"))
    };
    Ok(IpcSysctls {
        sem: semaphore_limits()?,
        msgmax: small("kernel/msgmax")?,
        msgmnb: small("kernel/msgmnb")?,
        msgmni: small("kernel/msgmni")?,
        // Not in kernels since 6.12.
        auto_msgmni: small("kernel/auto_msgmni").unwrap_or(0),
        shmmax: value("kernel/shmmax")?,
        shmall: value("kernel/shmall")?,
        shmmni: small("kernel/shmmni")?,
        shm_rmid_forced: small("kernel/shm_rmid_forced")?,
        queues_max: small("fs/mqueue/queues_max")?,
        msg_max: small("fs/mqueue/msg_max")?,
        msgsize_max: small("fs/mqueue/msgsize_max")?,
        msg_default: Some(small("fs/mqueue/msg_default")?),
        msgsize_default: Some(small("fs/mqueue/msgsize_default")?),
    })
}

fn semaphore_limits() -> Result<[u32; 4], Error> {
    let path = Path::new("/proc/sys/kernel/sem");
    let limits: Result<Vec<u32>, _> = values(path)?.into_iter().map(u32::try_from).collect();
    limits
        .ok()
        .and_then(|limits| limits.try_into().ok())
        .ok_or_else(|| failed("read", path, "it does not hold four values"))
}

/// Sets those that are different now.
///
/// # Errors
/// [`Error::Failed`] naming the first that cannot be set.
pub fn write(sysctls: &IpcSysctls) -> Result<(), Error> {
    let small = |name, value: u32| (name, vec![u64::from(value)]);
    let wanted = [
        ("kernel/sem", sysctls.sem.map(u64::from).to_vec()),
        small("kernel/msgmax", sysctls.msgmax),
        small("kernel/msgmnb", sysctls.msgmnb),
        small("kernel/msgmni", sysctls.msgmni),
        ("kernel/shmmax", vec![sysctls.shmmax]),
        ("kernel/shmall", vec![sysctls.shmall]),
        small("kernel/shmmni", sysctls.shmmni),
        small("kernel/shm_rmid_forced", sysctls.shm_rmid_forced),
        small("fs/mqueue/queues_max", sysctls.queues_max),
        small("fs/mqueue/msg_max", sysctls.msg_max),
        small("fs/mqueue/msgsize_max", sysctls.msgsize_max),
    ];
    let defaults = [
        ("fs/mqueue/msg_default", sysctls.msg_default),
        ("fs/mqueue/msgsize_default", sysctls.msgsize_default),
    ];
    let defaults = defaults.into_iter().filter_map(|(name, value)| Some(small(name, value?)));
    wanted.into_iter().chain(defaults).try_for_each(|(name, values)| set(name, &values))
}

fn set(name: &str, wanted: &[u64]) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(name);
    if values(&path)? == wanted {
        return Ok(());
    }
    let text: Vec<String> = wanted.iter().map(u64::to_string).collect();
    fs::write(&path, text.join(" ")).map_err(|error| failed("set", &path, error))
}

fn values(path: &Path) -> Result<Vec<u64>, Error> {
    let text = fs::read_to_string(path).map_err(|error| failed("read", path, error))?;
    let number = |word: &str| word.parse().map_err(|_| failed("read", path, "it is no number"));
    text.split_ascii_whitespace().map(number).collect()
}

fn failed(verb: &str, path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Failed(format!("cannot {verb} {}: {reason}", path.display()))
}
