//! A terminal with somebody at it who types.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::container_support::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Terminal {
    keyboard: File,
    child: Child,
}

impl Terminal {
    /// Starts a command with the terminal as its standard input and output.
    pub fn open(mut command: Command) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = File::from(rustix::fs::open(&name, flags, Mode::empty()).unwrap());
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap());
        let child = command.stderr(theirs).spawn().unwrap();
        Terminal { keyboard: File::from(ours), child }
    }

    /// Types and reads the screen until a text appears.
    #[track_caller]
    pub fn type_until(&mut self, keys: &str, expect: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        let (mut screen, deadline) = (String::new(), Instant::now() + PATIENCE);
        while !screen.contains(expect) {
            assert!(Instant::now() < deadline, "{expect:?} never appears: {screen:?}");
            let mut ready = [PollFd::new(&self.keyboard, PollFlags::IN)];
            let soon = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            if poll(&mut ready, Some(&soon)).unwrap() == 0 {
                continue;
            }
            let mut bytes = [0; 4096];
            let count = self.keyboard.read(&mut bytes).unwrap_or(0);
            assert!(count > 0, "the terminal is closed: {screen:?}");
            screen += &String::from_utf8_lossy(&bytes[..count]);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            wait_for(&mut self.child, Duration::from_secs(5));
        }
    }
}
