//! `update`: limits and restart policy of a container that is there already.

use stasis_enclosure::cgroup::Limit;

use crate::{
    config::RestartPolicy,
    error::{Error, Result},
    spec,
    store::Container,
};

/// What shall be different; the rest stays as it is. Limits of 0 or less are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub memory_bytes: Option<i64>,
    pub nano_cpus: Option<i64>,
    pub pids: Option<i64>,
    pub restart: Option<RestartPolicy>,
}

impl Container {
    /// Changes the container, also while it runs.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a restart policy that would never come into force,
    /// [`Error::Enclosure`] if the kernel refuses a limit: then the record is as it was.
    pub fn change(&self, update: &Update) -> Result<()> {
        if self.config.auto_remove && update.restart.is_some_and(|p| p != RestartPolicy::No) {
            return Err(Error::invalid("--rm and --restart exclude each other"));
        }
        if self.state()?.status.is_up() {
            for limit in limits(update) {
                self.cgroup().set_limit(limit)?;
            }
        }
        let positive = |value: i64| Some(value).filter(|value| *value > 0);
        self.change_config(|config| {
            if let Some(max) = update.memory_bytes {
                config.limits.memory_bytes = positive(max);
            }
            if let Some(max) = update.nano_cpus {
                config.limits.nano_cpus = positive(max);
            }
            if let Some(max) = update.pids {
                config.limits.pids = positive(max);
            }
            config.restart = update.restart.unwrap_or(config.restart);
        })
    }
}

fn limits(update: &Update) -> Vec<Limit> {
    let max = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let quota = |nano_cpus: i64| max(nano_cpus).map(spec::cpu_quota_us);
    let period_us = spec::CPU_PERIOD_US.unsigned_abs();
    [
        update.memory_bytes.map(|value| Limit::Memory { max_bytes: max(value) }),
        update.nano_cpus.map(|value| Limit::Cpu { quota_us: quota(value), period_us }),
        update.pids.map(|value| Limit::Pids { max: max(value) }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
