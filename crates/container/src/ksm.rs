//! Same-page merging (Documentation/admin-guide/mm/ksm.rst), for the time that new clones need it.
//!
//! The kernel's switch is the whole host's and off as a rule. What was merged stays so when it is switched
//! off again, until it is written to. So it is switched on, at a brisk pace, until the kernel has been
//! through all pages that are marked, and then the administrator's values are put back. They are written
//! down meanwhile, outside of any engine's directories: if we are killed, the next command puts them back.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Context, Result},
    record::{self, Lock},
};

const SYSFS: &str = "/sys/kernel/mm/ksm";
const NOTES: &str = "/run/stasis-ksm";

/// In the order in which they are set. Who advises how much to scan goes first: while he does so, the kernel
/// refuses other numbers. The switch is last. Older kernels have fewer of them.
const WANTED: [(&str, &str); 5] = [
    ("advisor_mode", "none"),
    // It would pass over pages of earlier clones that found no equal then.
    ("smart_scan", "0"),
    ("pages_to_scan", "5000"),
    ("sleep_millisecs", "1"),
    (RUN, ON),
];
const RUN: &str = "run";
const OFF: &str = "0";
const ON: &str = "1";

/// A page is merged when it is seen for the second time unchanged; the first round may have begun in the
/// middle.
const MIN_SCANS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(30);
const PERIOD: Duration = Duration::from_millis(10);

/// The kernel's merging of equal pages.
#[derive(Debug)]
pub struct Ksm {
    sysfs: PathBuf,
    notes: PathBuf,
    patience: Duration,
}

/// What became of pages that are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// Equal ones are one.
    Done,
    /// Not all was looked at within our patience.
    Unfinished,
    /// The administrator has it run all the time, at a pace of his choice.
    Continuous,
    /// The administrator wants no page to be merged (`run` is 2).
    Forbidden,
}

/// A value of the administrator's, and ours in its place.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    name: String,
    before: String,
    ours: String,
}

impl Ksm {
    pub fn of_host() -> Ksm {
        Ksm { sysfs: SYSFS.into(), notes: NOTES.into(), patience: PATIENCE }
    }

    /// Can this kernel merge at all? Otherwise it refuses marks.
    pub fn is_there(&self) -> bool {
        self.sysfs.exists()
    }

    /// Lets the kernel merge what is marked now. Where it does so anyway, nothing is changed.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] if the kernel has no such merging, or it may not be switched on. The values
    /// are as they were.
    pub fn merge(&self) -> Result<Merging> {
        record::make_private_dir(&self.notes)?;
        // Who else merges keeps us waiting: then most of our pages are merged by now, and the rest is soon.
        let _lock = Lock::take(&self.lock())?;
        self.put_back()?;
        match self.read(RUN)?.as_str() {
            OFF => {}
            ON => return Ok(Merging::Continuous),
            _ => return Ok(Merging::Forbidden),
        }
        let merged = self.switch_on().and_then(|()| self.await_rounds());
        let back = self.put_back();
        merged.and_then(|merging| back.map(|()| merging))
    }

    /// Puts back what a command has changed that was killed; one that is at work is left alone.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn sweep(&self) -> Result<()> {
        if !self.changes().exists() {
            return Ok(());
        }
        match Lock::try_take_existing(&self.lock())? {
            Some(_lock) => self.put_back(),
            None => Ok(()),
        }
    }

    fn switch_on(&self) -> Result<()> {
        let there = WANTED.iter().filter(|(name, _)| self.sysfs.join(name).exists());
        let changes = there.map(|(name, ours)| {
            let before = self.read(name)?;
            Ok(Change { name: (*name).into(), before, ours: (*ours).into() })
        });
        let changes = changes.collect::<Result<Vec<_>>>()?;
        record::write(&self.changes(), &changes)?;
        changes.iter().try_for_each(|change| self.write(&change.name, &change.ours))
    }

    /// The switch first. What somebody else has changed meanwhile is his.
    fn put_back(&self) -> Result<()> {
        let path = self.changes();
        if !path.exists() {
            return Ok(());
        }
        for change in record::read::<Vec<Change>>(&path)?.iter().rev() {
            let is_ours = self.read(&change.name)? == change.ours;
            if is_ours && change.before != change.ours {
                self.write(&change.name, &change.before)?;
            }
        }
        fs::remove_file(&path).context("remove", path.display())
    }

    /// Waits until a whole round has merged next to nothing.
    fn await_rounds(&self) -> Result<Merging> {
        let deadline = Instant::now() + self.patience;
        let mut seen = self.rounds()? + MIN_SCANS - 1;
        let mut merged = 0;
        while Instant::now() < deadline {
            let rounds = self.rounds()?;
            if rounds > seen {
                let now = self.merged()?;
                if now <= merged + merged / 100 {
                    return Ok(Merging::Done);
                }
                (seen, merged) = (rounds, now);
            }
            sleep(PERIOD);
        }
        Ok(Merging::Unfinished)
    }

    fn rounds(&self) -> Result<u64> {
        self.number("full_scans")
    }

    /// Pages that are not needed any more since others have the same content.
    fn merged(&self) -> Result<u64> {
        self.number("pages_sharing")
    }

    fn number(&self, name: &str) -> Result<u64> {
        Ok(self.read(name)?.parse().unwrap_or_default())
    }

    /// Of a choice, such as `[none] scan-time`, what is chosen.
    fn read(&self, name: &str) -> Result<String> {
        let path = self.sysfs.join(name);
        let text = fs::read_to_string(&path).context("read", path.display())?;
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        Ok(chosen.map_or(text.trim(), |(chosen, _)| chosen).to_owned())
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        let path = self.sysfs.join(name);
        // It is a file of the kernel, which nobody makes.
        let opened = fs::File::options().write(true).truncate(true).open(&path);
        opened
            .and_then(|mut file| file.write_all(value.as_bytes()))
            .context("write", path.display())
    }

    fn lock(&self) -> PathBuf {
        self.notes.join("lock")
    }

    fn changes(&self) -> PathBuf {
        self.notes.join("changes.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that never comes round.
    struct Kernel(tempfile::TempDir);

    impl Kernel {
        fn new(run: &str) -> Kernel {
            let kernel = Kernel(tempfile::tempdir().unwrap());
            fs::create_dir(kernel.0.path().join("ksm")).unwrap();
            let values = [
                (RUN, run),
                ("pages_to_scan", "1000"),
                ("sleep_millisecs", "20"),
                ("advisor_mode", "none [scan-time]"),
                ("full_scans", "7"),
                ("pages_sharing", "0"),
            ];
            values.iter().for_each(|(name, value)| kernel.set(name, value));
            kernel
        }

        fn set(&self, name: &str, value: &str) {
            fs::write(self.0.path().join("ksm").join(name), value).unwrap();
        }

        fn ksm(&self) -> Ksm {
            let path = self.0.path();
            Ksm {
                sysfs: path.join("ksm"),
                notes: path.join("notes"),
                patience: Duration::from_millis(50),
            }
        }

        fn values(&self) -> [String; 4] {
            [RUN, "pages_to_scan", "sleep_millisecs", "advisor_mode"]
                .map(|name| self.ksm().read(name).unwrap())
        }
    }

    const BEFORE: [&str; 4] = ["0", "1000", "20", "scan-time"];

    #[test]
    fn the_administrators_values_come_back() {
        let kernel = Kernel::new("0");
        assert_eq!(kernel.ksm().merge().unwrap(), Merging::Unfinished);
        assert_eq!(kernel.values(), BEFORE);
        assert!(!kernel.ksm().changes().exists());
    }

    #[test]
    fn what_a_killed_command_left_is_put_back_when_it_is_gone() {
        let kernel = Kernel::new("0");
        let ksm = kernel.ksm();
        record::make_private_dir(&ksm.notes).unwrap();
        let at_work = Lock::take(&ksm.lock()).unwrap();
        ksm.switch_on().unwrap();
        assert_eq!(kernel.values(), ["1", "5000", "1", "none"]);
        ksm.sweep().unwrap();
        assert_eq!(kernel.values(), ["1", "5000", "1", "none"], "somebody is at work");
        drop(at_work);
        ksm.sweep().unwrap();
        assert_eq!(kernel.values(), BEFORE);
    }

    #[test]
    fn what_the_administrator_sets_meanwhile_stays() {
        let kernel = Kernel::new("0");
        let ksm = kernel.ksm();
        record::make_private_dir(&ksm.notes).unwrap();
        drop(Lock::take(&ksm.lock()).unwrap());
        ksm.switch_on().unwrap();
        kernel.set("pages_to_scan", "77");
        ksm.sweep().unwrap();
        assert_eq!(kernel.values(), ["0", "77", "20", "scan-time"]);
    }

    #[test]
    fn an_administrators_choice_is_not_touched() {
        for (run, expect) in [("1", Merging::Continuous), ("2", Merging::Forbidden)] {
            let kernel = Kernel::new(run);
            assert_eq!(kernel.ksm().merge().unwrap(), expect);
            assert_eq!(kernel.values(), [run, "1000", "20", "scan-time"]);
        }
    }

    #[test]
    fn a_kernel_without_merging_is_told() {
        let kernel = Kernel::new("0");
        fs::remove_dir_all(kernel.0.path().join("ksm")).unwrap();
        assert!(!kernel.ksm().is_there());
        assert!(kernel.ksm().merge().unwrap_err().to_string().contains("ksm/run"));
        kernel.ksm().sweep().unwrap();
    }
}
