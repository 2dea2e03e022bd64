//! Programs that some tests freeze or talk to; installed if missing and possible.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A program and the Debian package it comes in.
const TOOLS: &[(&str, &str)] = &[
    ("redis-server", "redis-server"),
    ("busybox", "busybox-static"),
    ("nginx", "nginx-light"),
    ("pg_ctlcluster", "postgresql"),
    ("memcached", "memcached"),
    ("node", "nodejs"),
    ("java", "default-jdk-headless"),
    ("python3", "python3"),
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("podman", "podman"),
    ("ip", "iproute2"),
    ("xz", "xz-utils"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
];

/// Installs what is missing. Without root or apt, tests of the missing programs are skipped, and
/// say so themselves.
pub fn provide() {
    let missing: Vec<_> = TOOLS.iter().copied().filter(|(program, _)| !exists(program)).collect();
    if missing.is_empty() {
        return;
    }
    if !rustix::process::geteuid().is_root() || !exists("apt-get") {
        return explain(&missing, "not root, or no apt-get");
    }
    println!("installing {}", names(&missing));
    // One after the other: an unknown package must not keep the others away.
    apt(&["update"]);
    for (_, package) in &missing {
        apt(&["install", "--no-install-recommends", package]);
    }
    let missing: Vec<_> = missing.into_iter().filter(|(program, _)| !exists(program)).collect();
    if !missing.is_empty() {
        explain(&missing, "apt-get could not install them");
    }
}

fn explain(missing: &[(&str, &str)], why: &str) {
    println!("note: tests with {} will be skipped: {why}", names(missing));
}

fn names(tools: &[(&str, &str)]) -> String {
    tools.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ")
}

fn apt(arguments: &[&str]) {
    let mut command = Command::new("apt-get");
    command.args(["--yes", "--quiet=2"]).args(arguments).stdin(Stdio::null());
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // Servers are only to be there, not to run.
    command.env("RUNLEVEL", "1");
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("note: apt-get {}: {status}", arguments.join(" ")),
        Err(error) => println!("note: apt-get: {error}"),
    }
}

fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(Path::new);
    let dirs = std::env::split_paths(&path).collect::<Vec<_>>();
    dirs.iter().map(|dir| dir.as_path()).chain(usual).any(|dir| dir.join(program).is_file())
}
