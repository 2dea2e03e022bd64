//! `--change`: instructions of Dockerfiles that change the configuration of an image.

use serde_json::json;
use stasis_container::{merge_environment, signal};
use stasis_dockerfile::{Command, Dockerfile, Expander, Healthcheck, Instruction};
use stasis_oci::RunConfig;

use crate::failure::{Failure, Result};

/// Instructions that `commit` takes, in their order.
pub struct Changes(Vec<Instruction>);

impl Changes {
    /// Reads instructions; variables in them are those of the image.
    pub fn parse(texts: &[String], env: &[String]) -> Result<Changes> {
        let lookup = |name: &str| {
            let value =
                |entry: &String| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
            env.iter().find_map(value)
        };
        let expander = Expander::new('\\', &lookup);
        texts.iter().map(|text| parse(text, &expander)).collect::<Result<_>>().map(Changes)
    }

    /// Carries them out.
    pub fn apply(&self, config: &mut RunConfig) {
        self.0.iter().for_each(|instruction| apply(instruction, config));
    }
}

fn parse(text: &str, expander: &Expander) -> Result<Instruction> {
    let wrong = |cause: String| Failure {
        cause: Some(cause),
        ..Failure::new(format!("cannot follow --change {text:?}"))
    };
    let file = format!("FROM scratch\n{text}\n");
    let file = Dockerfile::parse(file.as_bytes()).map_err(|error| wrong(error.what))?;
    let [stage] = file.stages.as_slice() else { return Err(wrong("it is a FROM".into())) };
    let [step] = stage.steps.as_slice() else {
        return Err(wrong("it is not one instruction".into()));
    };
    let instruction = step.expand(expander).map_err(|error| wrong(error.what))?;
    use Instruction as I;
    match &instruction {
        I::Cmd(_) | I::Entrypoint(_) | I::Env(_) | I::Expose(_) | I::Label(_) | I::Onbuild(_)
        | I::User(_) | I::Volume(_) | I::Workdir(_) | I::Healthcheck(_) => Ok(instruction),
        I::Stopsignal(name) => Ok(signal::parse(name).map(|_| instruction)?),
        _ => Err(wrong("this instruction changes more than the configuration".into()).hint(
            "use CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR",
        )),
    }
}

fn apply(instruction: &Instruction, config: &mut RunConfig) {
    use Instruction as I;
    match instruction {
        I::Cmd(command) => config.cmd = Some(words(command)),
        I::Entrypoint(command) => config.entrypoint = Some(words(command)),
        I::Env(pairs) => {
            let over: Vec<String> =
                pairs.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
            config.env = merge_environment(std::mem::take(&mut config.env), &over);
        }
        I::Expose(ports) => {
            let named = |port: &String| match port.contains('/') {
                true => port.clone(),
                false => format!("{port}/tcp"),
            };
            config.exposed_ports.extend(ports.iter().map(|port| (named(port), json!({}))));
        }
        I::Label(pairs) => {
            config.labels.extend(pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())));
        }
        I::Onbuild(text) => config.on_build.push(text.clone()),
        I::Stopsignal(name) => config.stop_signal = Some(name.clone()),
        I::User(user) => config.user.clone_from(user),
        I::Volume(paths) => {
            config.volumes.extend(paths.iter().map(|path| (path.clone(), json!({}))));
        }
        I::Workdir(dir) => {
            let old = std::path::Path::new("/").join(&config.working_dir);
            config.working_dir = old.join(dir).to_string_lossy().into_owned();
        }
        I::Healthcheck(check) => config.healthcheck = Some(healthcheck(check)),
        _ => {}
    }
}

fn words(command: &Command) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
    }
}

fn healthcheck(check: &Healthcheck) -> stasis_oci::Healthcheck {
    let Healthcheck::Probe(probe) = check else {
        return stasis_oci::Healthcheck { test: vec!["NONE".into()], ..Default::default() };
    };
    stasis_oci::Healthcheck {
        test: match &probe.test {
            Command::Exec(words) => [vec!["CMD".into()], words.clone()].concat(),
            Command::Shell(text) => vec!["CMD-SHELL".into(), text.clone()],
        },
        interval: probe.interval_ns.unwrap_or(0),
        timeout: probe.timeout_ns.unwrap_or(0),
        start_period: probe.start_period_ns.unwrap_or(0),
        start_interval: probe.start_interval_ns.unwrap_or(0),
        retries: probe.retries.map_or(0, i64::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_configuration_in_their_order() {
        let texts = [
            "CMD [\"a\", \"b\"]",
            "ENTRYPOINT sh",
            "ENV A=$B C=2",
            "EXPOSE 80 53/udp",
            "LABEL k=v",
            "ONBUILD RUN x",
            "USER me",
            "VOLUME /data",
            "WORKDIR sub",
            "STOPSIGNAL SIGINT",
        ];
        let mut config = RunConfig {
            env: vec!["A=1".into(), "B=of B".into()],
            working_dir: "/place".into(),
            ..RunConfig::default()
        };
        let changes = Changes::parse(&texts.map(str::to_owned), &config.env).unwrap();
        changes.apply(&mut config);
        assert_eq!(config.cmd.unwrap(), ["a", "b"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "sh"]);
        assert_eq!(config.env, ["A=of B", "B=of B", "C=2"]);
        assert_eq!(config.exposed_ports.into_keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.labels["k"], "v");
        assert_eq!(config.on_build, ["RUN x"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("me", "/place/sub"));
        assert_eq!(config.stop_signal.unwrap(), "SIGINT");
    }

    #[test]
    fn the_rest_is_refused() {
        for text in
            ["RUN x", "COPY a b", "FROM x", "CMD", "NOSUCH", "STOPSIGNAL NONE", "USER a\nUSER b"]
        {
            assert!(Changes::parse(&[text.to_owned()], &[]).is_err(), "{text}");
        }
    }
}
