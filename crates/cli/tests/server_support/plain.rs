//! A server as a plain process in a session of its own, with its output in a file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use crate::{container_support::wait_for, process_support::command::stasis_process};

pub struct Plain {
    dir: PathBuf,
    child: Child,
    pid: Pid,
}

impl Plain {
    pub fn start(dir: &Path, command: &[String]) -> Plain {
        let output = fs::File::create(dir.join("output")).unwrap();
        let mut setsid = Command::new("setsid");
        setsid.args(command).current_dir("/").env_clear();
        setsid.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = setsid.spawn().unwrap();
        let pid = Pid::from_child(&child);
        Plain { dir: dir.to_owned(), child, pid }
    }

    pub fn output(&self) -> String {
        fs::read_to_string(self.dir.join("output")).unwrap()
    }

    pub fn dump(&mut self, name: &str, options: &[&str]) {
        let images = self.images(name);
        fs::create_dir(&images).unwrap();
        let pid = self.pid.as_raw_nonzero().to_string();
        let dump = ["dump", "-t", &pid, "-D", &images];
        stasis_process(&self.dir, &[&dump, options].concat()).unwrap().expect_success().unwrap();
        if options.is_empty() {
            self.reap();
        }
    }

    pub fn restore(&mut self, name: &str) {
        let restore = ["restore", "-d", "-D", &self.images(name)];
        stasis_process(&self.dir, &restore).unwrap().expect_success().unwrap();
    }

    fn images(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Restored, it is an orphan that came to us: a child the standard library does not know.
    fn reap(&mut self) {
        wait_for(&mut self.child, Duration::from_secs(10));
        let _ = rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::empty());
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.try_wait();
        let _ = rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::NOHANG);
    }
}
