//! Somebody at the command line.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    container_support::{Done, Engine, finish},
    registry_support::{USER, image::Image},
};

/// An engine, and a user with a home directory of its own.
pub struct User {
    pub engine: Engine,
}

impl User {
    pub fn new() -> User {
        User { engine: Engine::new() }
    }

    pub fn home(&self) -> PathBuf {
        self.engine.dir.path().join("home")
    }

    pub fn docker_config(&self) -> PathBuf {
        self.home().join(".docker/config.json")
    }

    /// A command that sees no credentials but its user's.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.engine.command(args);
        for variable in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"] {
            command.env_remove(variable);
        }
        command.env("HOME", self.home()).env("XDG_RUNTIME_DIR", self.home().join("run"));
        command
    }

    pub fn try_run(&self, args: &[&str]) -> Done {
        finish(&mut self.command(args), |_| ())
    }

    pub fn run(&self, args: &[&str]) -> String {
        let done = self.try_run(args);
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        done.out
    }

    pub fn login(&self, registry: &str, password: &str) -> Done {
        let args = ["login", "-u", USER, "--password-stdin", registry];
        finish(self.command(&args).stdin(Stdio::piped()), |child| {
            child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        })
    }

    /// Where the layers of a pulled image are unpacked, the lowest first; all must be there.
    pub fn layers(&self, image: &Image) -> Vec<PathBuf> {
        let dirs: Vec<PathBuf> = image.layer_dirs(&self.engine.root());
        assert!(dirs.iter().all(|dir| dir.is_dir()), "{dirs:?}");
        dirs
    }
}
