//! Capability sets (capabilities(7)): Docker's default set, `--cap-add`, `--cap-drop`.

use std::{collections::BTreeSet, str::FromStr};

use caps::{CapSet, Capability, CapsHashSet};

use crate::{
    config::Security,
    error::{Error, Result},
};

const DEFAULT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

/// Names of the capabilities that a container's root gets, such as `CAP_KILL`, without those that
/// we do not have ourselves.
///
/// # Errors
/// [`Error::Invalid`] for a name that is no capability.
pub fn granted(security: &Security) -> Result<BTreeSet<String>> {
    let ours = caps::read(None, CapSet::Permitted)
        .map_err(|error| Error::invalid(format!("cannot read our own capabilities: {error}")))?;
    let wanted = wanted(security)?;
    Ok(wanted.iter().filter(|cap| ours.contains(cap)).map(ToString::to_string).collect())
}

/// Checks the names without looking at the host.
///
/// # Errors
/// [`Error::Invalid`] for a name that is no capability.
pub(crate) fn wanted(security: &Security) -> Result<CapsHashSet> {
    let add = named(&security.cap_add)?;
    let drop = named(&security.cap_drop)?;
    if security.privileged {
        return Ok(caps::all());
    }
    let mut set = match drop {
        Named::All => CapsHashSet::new(),
        Named::These(_) => DEFAULT.into_iter().collect(),
    };
    match add {
        Named::All => set = caps::all(),
        Named::These(add) => set.extend(add),
    }
    if let Named::These(drop) = drop {
        set.retain(|cap| !drop.contains(cap));
    }
    Ok(set)
}

enum Named {
    All,
    These(Vec<Capability>),
}

fn named(names: &[String]) -> Result<Named> {
    if names.iter().any(|name| name.eq_ignore_ascii_case("all")) {
        return Ok(Named::All);
    }
    names.iter().map(|name| parse(name)).collect::<Result<_>>().map(Named::These)
}

/// Takes `NET_ADMIN`, `net_admin` and `CAP_NET_ADMIN`.
fn parse(name: &str) -> Result<Capability> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    Capability::from_str(&full).map_err(|_| Error::invalid(format!("{name:?} is not a capability")))
}

/// Which user a process runs as decides whether it holds its capabilities or is only bound by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Root,
    Other,
}

/// Confines the calling thread to `names`; others than root keep none in their hands.
///
/// # Errors
/// The crate's error if the kernel refuses.
pub(crate) fn confine(names: &BTreeSet<String>, holder: Holder) -> std::result::Result<(), String> {
    let allowed: CapsHashSet = names.iter().filter_map(|n| Capability::from_str(n).ok()).collect();
    let confine = || {
        for cap in caps::read(None, CapSet::Bounding)?.difference(&allowed) {
            caps::drop(None, CapSet::Bounding, *cap)?;
        }
        let held = if holder == Holder::Root { allowed } else { CapsHashSet::new() };
        caps::clear(None, CapSet::Ambient)?;
        caps::clear(None, CapSet::Inheritable)?;
        caps::set(None, CapSet::Effective, &held)?;
        caps::set(None, CapSet::Permitted, &held)
    };
    confine().map_err(|error: caps::errors::CapsError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Seccomp;

    fn security(add: &[&str], drop: &[&str]) -> Security {
        let own = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        Security {
            cap_add: own(add),
            cap_drop: own(drop),
            privileged: false,
            no_new_privileges: false,
            seccomp: Seccomp::Default,
        }
    }

    #[test]
    fn default_set_is_dockers() {
        assert_eq!(wanted(&security(&[], &[])).unwrap().len(), 14);
    }

    #[test]
    fn drop_all_and_add_one_leaves_one() {
        let set = wanted(&security(&["net_admin"], &["ALL"])).unwrap();
        assert_eq!(set.into_iter().collect::<Vec<_>>(), vec![Capability::CAP_NET_ADMIN]);
    }

    #[test]
    fn add_all_and_drop_one_lacks_one() {
        let set = wanted(&security(&["all"], &["CAP_KILL"])).unwrap();
        assert!(!set.contains(&Capability::CAP_KILL));
        assert_eq!(set.len(), caps::all().len() - 1);
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(wanted(&security(&["fly"], &[])).is_err());
    }
}
