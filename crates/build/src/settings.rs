//! Instructions that change the configuration of the image and no file.

use std::collections::BTreeMap;

use serde_json::json;
use stasis_container::signal;
use stasis_dockerfile::{Command, Healthcheck, Instruction, Pair, Probe};
use stasis_oci::RunConfig;

use crate::{
    error::{Error, Result},
    history,
    stage::{Stage, Standing},
};

const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Changes the configuration; gives what the history tells of it.
///
/// # Errors
/// [`Error::Invalid`] for values that mean nothing.
pub(crate) fn apply(stage: &mut Stage, instruction: &Instruction, text: &str) -> Result<String> {
    use Instruction as I;
    match instruction {
        I::Env(pairs) => {
            stage.scope.set(pairs);
            let env = stage.scope.env().iter();
            stage.config.config.env = env.map(|(name, value)| format!("{name}={value}")).collect();
            return Ok(history::pairs("ENV", pairs));
        }
        I::Arg(list) => {
            list.iter().for_each(|arg| stage.scope.declare(arg));
            return Ok(history::declarations(list));
        }
        I::Entrypoint(command) => return Ok(entrypoint(stage, command)),
        I::Cmd(command) => {
            stage.command = Standing::Own;
            let words = words(command, &stage.config.config);
            let told = format!("CMD {}", history::quoted(&words));
            stage.config.config.cmd = Some(words);
            return Ok(told);
        }
        I::Maintainer(name) => stage.config.author = Some(name.clone()),
        _ => return configure(&mut stage.config.config, instruction, text),
    }
    Ok(text.to_owned())
}

/// A command that comes from below was meant for the entry point there.
fn entrypoint(stage: &mut Stage, command: &Command) -> String {
    if stage.command == Standing::Inherited {
        stage.config.config.cmd = None;
    }
    let words = words(command, &stage.config.config);
    let told = format!("ENTRYPOINT {}", history::quoted(&words));
    stage.config.config.entrypoint = Some(words);
    told
}

fn configure(config: &mut RunConfig, instruction: &Instruction, text: &str) -> Result<String> {
    use Instruction as I;
    Ok(match instruction {
        I::Label(pairs) => {
            label(&mut config.labels, pairs);
            history::pairs("LABEL", pairs)
        }
        I::Expose(ports) => {
            let ports: Vec<String> =
                ports.iter().map(|text| exposed(text)).collect::<Result<Vec<_>>>()?.concat();
            config.exposed_ports.extend(ports.iter().map(|port| (port.clone(), json!({}))));
            let told: BTreeMap<String, ()> = ports.into_iter().map(|port| (port, ())).collect();
            let told: Vec<String> = told.into_keys().map(|port| format!("{port}:{{}}")).collect();
            format!("EXPOSE map[{}]", told.join(" "))
        }
        I::Volume(paths) => {
            config.volumes.extend(paths.iter().map(|path| (path.clone(), json!({}))));
            format!("VOLUME [{}]", paths.join(" "))
        }
        I::User(user) => {
            config.user.clone_from(user);
            format!("USER {user}")
        }
        I::Stopsignal(name) => {
            signal::parse(name)?;
            config.stop_signal = Some(name.clone());
            format!("STOPSIGNAL {name}")
        }
        I::Shell(words) => {
            config.shell = Some(words.clone());
            format!("SHELL [{}]", words.join(" "))
        }
        I::Healthcheck(check) => {
            config.healthcheck = Some(healthcheck(check));
            text.to_owned()
        }
        I::Onbuild(trigger) => {
            config.on_build.push(trigger.clone());
            format!("ONBUILD {trigger}")
        }
        other => return Err(Error::invalid(format!("{other:?} changes no configuration"))),
    })
}

/// Labels of the caller stand above those of the file.
pub(crate) fn label_all(labels: &mut BTreeMap<String, String>, more: &BTreeMap<String, String>) {
    labels.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
}

fn label(labels: &mut BTreeMap<String, String>, pairs: &[Pair]) {
    labels.extend(pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())));
}

/// The shell that reads commands.
pub(crate) fn shell(config: &RunConfig) -> Vec<String> {
    config.shell.clone().unwrap_or_else(|| SHELL.map(str::to_owned).to_vec())
}

fn words(command: &Command, config: &RunConfig) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) => shell(config).into_iter().chain([text.clone()]).collect(),
    }
}

fn healthcheck(check: &Healthcheck) -> stasis_oci::Healthcheck {
    let Healthcheck::Probe(probe) = check else {
        return stasis_oci::Healthcheck { test: vec!["NONE".into()], ..Default::default() };
    };
    stasis_oci::Healthcheck {
        test: test(probe),
        interval: probe.interval_ns.unwrap_or(0),
        timeout: probe.timeout_ns.unwrap_or(0),
        start_period: probe.start_period_ns.unwrap_or(0),
        start_interval: probe.start_interval_ns.unwrap_or(0),
        retries: probe.retries.map_or(0, i64::from),
    }
}

/// `CMD-SHELL` is read by the image's shell, which whoever runs it looks up.
fn test(probe: &Probe) -> Vec<String> {
    match &probe.test {
        Command::Exec(words) => ["CMD".to_owned()].into_iter().chain(words.clone()).collect(),
        Command::Shell(text) => vec!["CMD-SHELL".into(), text.clone()],
    }
}

/// `80`, `80/udp` and `8000-8002` as the configuration has them. An address and a port of the host
/// before them are for others.
fn exposed(text: &str) -> Result<Vec<String>> {
    let wrong = || {
        Error::invalid(format!("{text:?} is not a port to expose"))
            .hint("expected PORT, PORT/udp or FIRST-LAST")
    };
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let ports = ports.rsplit(':').next().unwrap_or(ports);
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let first: u16 = first.parse().map_err(|_| wrong())?;
    let last: u16 = last.parse().map_err(|_| wrong())?;
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(exposed("80").unwrap(), ["80/tcp"]);
        assert_eq!(exposed("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(exposed("1-3").unwrap(), ["1/tcp", "2/tcp", "3/tcp"]);
        assert_eq!(exposed("127.0.0.1:8080:80").unwrap(), ["80/tcp"]);
        for text in ["", "x", "80/x", "3-1", "70000", "1-"] {
            assert!(exposed(text).is_err(), "{text}");
        }
    }
}
