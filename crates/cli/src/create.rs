//! From the options of `run` and `create` to a configuration.

mod network;

use std::{fs, path::Path};

use jiff::Timestamp;
use stasis_container::{
    Container, Store, check_config,
    config::{Config, Limits, RestartPolicy, Seccomp, Security, Stop},
    merge_environment, signal,
};
use stasis_oci::RunConfig;

use crate::{
    args::CreateArgs,
    basis::{self, Basis, Beginning, Program},
    failure::{Failure, Result},
    health, mounts, parse,
};

pub use network::{check_aliases, choose as choose_network};

const DEFAULT_STOP_TIMEOUT_S: i64 = 10;

/// Creates a container whose program has not begun.
pub fn create(store: &Store, args: &CreateArgs) -> Result<Container> {
    match basis::of(store, args)? {
        Beginning::Program(basis) => of_program(store, args, &basis),
        Beginning::Checkpoint(frozen) => Err(Failure::new(format!(
            "image {} holds a checkpoint: a container of it goes on at once",
            frozen.name
        ))
        .hint(format!("stasis run -d {}", frozen.name))),
    }
}

/// Creates the container and writes its id to the file of `--cidfile`.
pub fn of_program(store: &Store, args: &CreateArgs, basis: &Basis) -> Result<Container> {
    let config = config(store, args, basis)?;
    check_config(&config)?;
    refuse_present(args.cidfile.as_deref())?;
    let container = store.create(config)?;
    write_id(&container, args.cidfile.as_deref())?;
    Ok(container)
}

/// Refuses a file for the id that is there already.
pub fn refuse_present(cidfile: Option<&Path>) -> Result<()> {
    match cidfile.filter(|path| path.exists()) {
        Some(path) => Err(Failure::new(format!("the file {} exists already", path.display()))
            .hint("remove it, or give another name to --cidfile")),
        None => Ok(()),
    }
}

/// Writes the id to a file, if the user wants one.
pub fn write_id(container: &Container, cidfile: Option<&Path>) -> Result<()> {
    match cidfile {
        Some(path) => Ok(fs::write(path, &container.config.id)?),
        None => Ok(()),
    }
}

fn config(store: &Store, args: &CreateArgs, basis: &Basis) -> Result<Config> {
    let program = Program::of(args, basis)?;
    let restart = parse::restart_policy(&args.restart)?;
    if args.rm && restart != RestartPolicy::No {
        return Err(Failure::new("--rm and --restart exclude each other"));
    }
    let image = &basis.defaults;
    let typed = parse::environment(&args.env_file, &args.env)?;
    let cwd = Some(&image.working_dir).filter(|dir| !dir.is_empty());
    let mut labels = image.labels.clone();
    labels.extend(parse::labels(&args.label));
    Ok(Config {
        id: String::new(),
        name: args.name.clone().unwrap_or_default(),
        created: Timestamp::now(),
        rootfs: basis.rootfs.clone(),
        args: program.args,
        entrypoint: program.entrypoint,
        env: merge_environment(image.env.clone(), &typed),
        cwd: args.workdir.as_ref().or(cwd).cloned().unwrap_or_else(|| "/".into()),
        user: args.user.as_ref().unwrap_or(&image.user).clone(),
        hostname: hostname(args)?,
        tty: args.tty,
        stdin_open: args.interactive,
        labels,
        mounts: mounts::wanted(store, args, image)?,
        volumes_from: mounts::sources(store, &args.volumes_from)?,
        read_only: args.read_only,
        network: network::choose(store, &args.network, args.hostname.as_deref())?,
        network_options: network::options(&args.network, image)?,
        init: args.init,
        security: security(args)?,
        limits: limits(args)?,
        stop: stop(args, image)?,
        restart,
        auto_remove: args.rm,
        exposed_ports: image.exposed_ports.keys().cloned().collect(),
        healthcheck: health::check(&args.health, image.healthcheck.as_ref())?,
    })
}

/// What is typed stands above what the image says.
fn stop(args: &CreateArgs, image: &RunConfig) -> Result<Stop> {
    let signal = args.stop_signal.as_ref().or(image.stop_signal.as_ref());
    Ok(Stop {
        signal: signal::parse(signal.map_or("SIGTERM", String::as_str))?,
        timeout_s: args.stop_timeout.or(image.stop_timeout).unwrap_or(DEFAULT_STOP_TIMEOUT_S),
    })
}

fn hostname(args: &CreateArgs) -> Result<String> {
    let name = args.hostname.clone().unwrap_or_default();
    let is_valid = name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    if is_valid { Ok(name) } else { Err(Failure::new(format!("{name:?} is not a host name"))) }
}

fn security(args: &CreateArgs) -> Result<Security> {
    let mut security = Security {
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        privileged: args.privileged,
        no_new_privileges: false,
        seccomp: Seccomp::Default,
    };
    for option in &args.security_opt {
        let at = option.find(['=', ':']).unwrap_or(option.len());
        let value = option.get(at + 1..).unwrap_or_default();
        match (&option[..at], value) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => security.no_new_privileges = false,
            ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => security.seccomp = Seccomp::Default,
            ("seccomp", path) if !path.is_empty() => security.seccomp = profile(Path::new(path))?,
            ("apparmor" | "label", "unconfined" | "disable") => {}
            _ => {
                return Err(Failure::new(format!("unknown security option {option:?}"))
                    .hint("use seccomp=unconfined, seccomp=FILE or no-new-privileges"));
            }
        }
    }
    Ok(security)
}

fn profile(path: &Path) -> Result<Seccomp> {
    let wrong = |cause: String| Failure {
        cause: Some(cause),
        ..Failure::new(format!("cannot use {} as a seccomp profile", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map(Seccomp::Profile).map_err(|error| wrong(error.to_string()))
}

fn limits(args: &CreateArgs) -> Result<Limits> {
    let memory_bytes = args.memory.as_deref().map(parse::memory).transpose()?;
    Ok(Limits {
        memory_bytes: memory_bytes.filter(|max| *max > 0),
        nano_cpus: args.cpus.as_deref().map(parse::nano_cpus).transpose()?,
        pids: args.pids_limit.filter(|max| *max > 0),
        ulimits: args.ulimit.iter().map(|text| parse::ulimit(text)).collect::<Result<_>>()?,
    })
}
