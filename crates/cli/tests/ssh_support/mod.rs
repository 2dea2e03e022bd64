//! An ssh server, and a client that reaches it.

#![allow(dead_code)] // not every test file uses all of it

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::container_support::{Engine, way_to};

pub const SSHD: &str = "/usr/sbin/sshd";

/// An ssh server with keys of its own.
pub struct SshServer {
    dir: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl SshServer {
    /// One on loopback.
    pub fn start() -> SshServer {
        let is_there = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        SshServer::start_as(Command::new(SSHD), "127.0.0.1", is_there)
    }

    /// One that is started by this command, and listens on a port of this address.
    pub fn start_as(
        mut command: Command,
        address: &str,
        listens: impl Fn(u16) -> bool,
    ) -> SshServer {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for name in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &path(name)]);
            assert!(keygen.status().expect("this test needs Debian's openssh-client").success());
        }
        fs::copy(path("user.pub"), path("authorized")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
             PidFile none\nUsePAM no\nPermitRootLogin yes\n\
             PermitUserEnvironment yes\n",
            path("host"),
            path("authorized"),
        );
        fs::write(path("config"), config).unwrap();
        // Where it drops its privileges for a while.
        fs::create_dir_all("/run/sshd").unwrap();
        command.args(["-D", "-f", &path("config")]).stderr(Stdio::null());
        let server = command.spawn().expect("this test needs Debian's openssh-server");
        let server = SshServer { dir, server, port };
        for _ in 0..500 {
            if listens(port) {
                return server;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("the ssh server does not listen");
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Puts an `ssh` first in the path that knows key and port, and there a `stasis` of the other engine.
pub fn with_ssh(server: &SshServer, there: &Engine, command: &mut Command) {
    let bin = server.dir.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let script = |name: &str, text: String| {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
    };
    script(
        "ssh",
        format!(
            "exec /usr/bin/ssh -F none -p {} -i {} -o StrictHostKeyChecking=no -o BatchMode=yes \
             -o UserKnownHostsFile={} -o LogLevel=ERROR \"$@\"",
            server.port,
            server.path("user"),
            server.path("known"),
        ),
    );
    script("stasis", way_to(there).replace(" container receive", " \"$@\""));
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", bin.display());
    let authorized = fs::read_to_string(server.path("user.pub")).unwrap();
    let forced = format!("environment=\"PATH={path}\" {authorized}");
    fs::write(server.path("authorized"), forced).unwrap();
    command.env("PATH", path);
}
