//! A registry on this machine, and what it was asked for.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Debian's `docker-registry`, until this goes.
pub struct Registry {
    server: Child,
    log: PathBuf,
    port: u16,
}

impl Registry {
    pub fn start(dir: &Path) -> anyhow::Result<Registry> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let (config, log) = (dir.join("registry.yml"), dir.join("registry.log"));
        let data = dir.join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: warn}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
                data.display()
            ),
        )?;
        let output = fs::File::create(&log)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let server = command.spawn().context("cannot start docker-registry")?;
        let mut registry = Registry { server, log, port };
        registry.await_port()?;
        Ok(registry)
    }

    /// As it stands before the name of an image.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// How many blobs it has sent so far. The access log has a line such as
    /// `"GET /v2/NAME/blobs/sha256:… HTTP/1.1" 200 …` for each.
    pub fn blobs_sent(&self) -> anyhow::Result<usize> {
        let log = fs::read_to_string(&self.log)?;
        let is_blob = |line: &&str| {
            line.contains("\"GET /v2/") && line.contains("/blobs/") && line.contains("\" 20")
        };
        Ok(log.lines().filter(is_blob).count())
    }

    fn await_port(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if Instant::now() > deadline || self.server.try_wait()?.is_some() {
                bail!("docker-registry does not listen: {}", fs::read_to_string(&self.log)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
