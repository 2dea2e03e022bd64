//! Values of options: sizes, limits, variables, policies.

use std::{collections::BTreeMap, fs};

use stasis_container::config::{RestartPolicy, Rootfs, RootfsAccess, Ulimit};
use stasis_network::Publish;

use crate::failure::{Failure, Result};

/// Smaller limits do not even hold the launcher.
const MIN_MEMORY_BYTES: i64 = 6 << 20;

/// `512m`, `1g`, `64kb`, `1024`.
pub fn bytes(text: &str) -> Result<i64> {
    let wrong = || Failure::new(format!("{text:?} is not a number of bytes, such as 512m"));
    let lower = text.trim().to_ascii_lowercase();
    let unit = lower.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let factor: f64 = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let number: f64 = lower[..lower.len() - unit.len()].parse().map_err(|_| wrong())?;
    let bytes = number * factor;
    // Below 2^62 the conversion is exact enough for a limit.
    if (0.0..4.6e18).contains(&bytes) { Ok(bytes as i64) } else { Err(wrong()) }
}

/// A limit of memory; 0 is none.
pub fn memory(text: &str) -> Result<i64> {
    match bytes(text)? {
        1..MIN_MEMORY_BYTES => {
            Err(Failure::new("the limit of memory is below the minimum of 6 MiB"))
        }
        max => Ok(max),
    }
}

/// `1.5` processors in billionths.
pub fn nano_cpus(text: &str) -> Result<i64> {
    let wrong = || Failure::new(format!("{text:?} is not a number of processors, such as 1.5"));
    let number: f64 = text.parse().map_err(|_| wrong())?;
    if number > 0.001 && number <= 100_000.0 {
        Ok((number * 1e9).round() as i64)
    } else {
        Err(wrong())
    }
}

/// `/dir` or `/dir:O`.
pub fn rootfs(text: &str) -> Result<Rootfs> {
    let (dir, access) = match text.strip_suffix(":O") {
        Some(dir) => (dir, RootfsAccess::Overlay),
        None => (text, RootfsAccess::Direct),
    };
    let dir = fs::canonicalize(dir).map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot use {dir:?} as the root file system"))
    })?;
    if !dir.is_dir() {
        return Err(Failure::new(format!(
            "the root file system {} is not a directory",
            dir.display()
        )));
    }
    Ok(Rootfs::Directory { dir, access })
}

/// `nofile=1024:4096`; -1 is without limit.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    let wrong = || Failure::new(format!("{text:?} is not a limit, such as nofile=1024:4096"));
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        number => number.parse().map_err(|_| wrong()),
    };
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft > hard {
        return Err(Failure::new(format!("ulimit {name}: the soft limit is above the hard limit")));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

pub fn restart_policy(text: &str) -> Result<RestartPolicy> {
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("no" | "", "") => RestartPolicy::No,
        ("always", "") => RestartPolicy::Always,
        ("unless-stopped", "") => RestartPolicy::UnlessStopped,
        ("on-failure", "") => RestartPolicy::OnFailure { max_retries: None },
        ("on-failure", number) if number.parse::<u32>().is_ok() => {
            RestartPolicy::OnFailure { max_retries: number.parse().ok().filter(|max| *max > 0) }
        }
        _ => {
            return Err(Failure::new(format!("{text:?} is not a restart policy"))
                .hint("use no, always, unless-stopped, on-failure or on-failure:NUMBER"));
        }
    })
}

/// `-e` and `--env-file`; what is typed stands above what is in a file.
pub fn environment(files: &[std::path::PathBuf], typed: &[String]) -> Result<Vec<String>> {
    let mut env = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| Failure {
            cause: Some(error.to_string()),
            ..Failure::new(format!("cannot read the variables in {}", file.display()))
        })?;
        for line in text.lines().map(str::trim_start) {
            if !line.is_empty() && !line.starts_with('#') {
                env = stasis_container::merge_environment(env, &variable(line)?);
            }
        }
    }
    for entry in typed {
        env = stasis_container::merge_environment(env, &variable(entry)?);
    }
    Ok(env)
}

/// A name without value is looked up here, and left out if we do not have it either.
fn variable(entry: &str) -> Result<Vec<String>> {
    match entry.split_once('=') {
        Some(("", _)) => Err(Failure::new(format!("{entry:?} is not a variable: it has no name"))),
        Some(_) => Ok(vec![entry.to_owned()]),
        None => {
            Ok(std::env::var(entry).map(|value| format!("{entry}={value}")).into_iter().collect())
        }
    }
}

/// Ports to publish; one text may be a range of them.
pub fn publish(given: &[String]) -> Result<Vec<Publish>> {
    let mut all = Vec::new();
    for text in given {
        all.extend(Publish::parse(text)?);
    }
    Ok(all)
}

pub fn labels(given: &[String]) -> BTreeMap<String, String> {
    given
        .iter()
        .map(|label| label.split_once('=').unwrap_or((label, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes() {
        for (text, expect) in
            [("1024", 1024), ("64k", 65536), ("1.5m", 1_572_864), ("2GiB", 2 << 30)]
        {
            assert_eq!(bytes(text).unwrap(), expect, "{text}");
        }
        for text in ["", "m", "-1", "1x", "9999999999g"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn processors() {
        assert_eq!(nano_cpus("1.5").unwrap(), 1_500_000_000);
        assert!(nano_cpus("0").is_err());
        assert!(nano_cpus("nan").is_err());
    }

    #[test]
    fn limits() {
        let expect = Ulimit { name: "nofile".into(), soft: 1, hard: 2 };
        assert_eq!(ulimit("nofile=1:2").unwrap(), expect);
        assert_eq!(ulimit("core=-1").unwrap().hard, u64::MAX);
        assert!(ulimit("nofile=2:1").is_err());
    }

    #[test]
    fn policies() {
        assert_eq!(restart_policy("no").unwrap(), RestartPolicy::No);
        let three = RestartPolicy::OnFailure { max_retries: Some(3) };
        assert_eq!(restart_policy("on-failure:3").unwrap(), three);
        assert!(restart_policy("sometimes").is_err());
        assert!(restart_policy("always:3").is_err());
    }
}
