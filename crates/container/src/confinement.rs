//! What a program is confined to before it starts: no_new_privs, seccomp, capabilities.
//!
//! The runtime library would load filters too late and none at all for programs started by `exec`;
//! so it is told nothing of this, and we do it at the last moment before execve(2).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    capability::{self, Holder},
    config::{Seccomp, Security},
    error::Result,
    seccomp,
};

/// As it travels to the launcher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub capabilities: BTreeSet<String>,
    pub no_new_privileges: bool,
    pub seccomp: Option<serde_json::Value>,
}

/// Ready to be applied: nothing is left that allocates much or can be refused for its form.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    capabilities: BTreeSet<String>,
    no_new_privileges: bool,
    filters: Vec<seccomp::Program>,
}

impl Confinement {
    /// What `security` asks for on this host.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for unknown capabilities.
    pub fn of(security: &Security) -> Result<Confinement> {
        let seccomp = match &security.seccomp {
            _ if security.privileged => None,
            Seccomp::Default => Some(seccomp::default_profile()?),
            Seccomp::Unconfined => None,
            Seccomp::Profile(profile) => Some(profile.clone()),
        };
        Ok(Confinement {
            capabilities: capability::granted(security)?,
            no_new_privileges: security.no_new_privileges,
            seccomp,
        })
    }

    /// Compiles the filters.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a profile that cannot be followed.
    pub fn compile(&self) -> Result<Compiled> {
        let filters = match &self.seccomp {
            Some(profile) => seccomp::compile(profile, &self.capabilities)?,
            None => Vec::new(),
        };
        Ok(Compiled {
            capabilities: self.capabilities.clone(),
            no_new_privileges: self.no_new_privileges,
            filters,
        })
    }
}

impl Compiled {
    /// Confines the calling thread, which still has all capabilities: a filter can then be loaded
    /// without no_new_privs, whoever the program runs as.
    ///
    /// # Errors
    /// What the kernel refused, in words.
    pub fn apply(&self) -> std::result::Result<(), String> {
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true)
                .map_err(|error| format!("cannot set no_new_privs: {error}"))?;
        }
        for filter in &self.filters {
            stasis_sys::seccomp::install(filter)
                .map_err(|error| format!("cannot load a seccomp filter: {error}"))?;
        }
        let is_root = rustix::process::geteuid().is_root();
        let holder = if is_root { Holder::Root } else { Holder::Other };
        capability::confine(&self.capabilities, holder)
            .map_err(|error| format!("cannot drop capabilities: {error}"))
    }
}
