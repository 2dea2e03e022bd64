//! `run` of an image of a checkpoint, as Podman has it: a new container that goes on where the checkpoint
//! was taken. What was frozen cannot be typed anew.

use std::path::Path;

use stasis_container::{
    Container, Remade, Remake, Removal, Store, Stored, VolumesOf, Wish,
    attach::Proxy,
    config::{Config, Network, Rootfs},
};
use stasis_engine::Keeping;

use super::{process, verbs};
use crate::{
    args::{CreateArgs, NetworkArgs, RunArgs, health::HealthArgs},
    basis::{self, Frozen},
    create,
    failure::{Failure, Result},
    parse,
};

/// Makes the container and lets it go on; without `-d` its exit code is ours.
pub fn run(store: &Store, args: &RunArgs, frozen: &Frozen, detach_keys: Vec<u8>) -> Result<i32> {
    refuse_frozen(args, frozen)?;
    let cidfile = args.create.cidfile.as_deref();
    create::refuse_present(cidfile)?;
    let fetch = |name: &str| {
        basis::fetch(store, name, &args.create.pulling)
            .map_err(|failure| failure.cause.unwrap_or(failure.message))
    };
    let staged = store.checkpoints().unpack_image(&frozen.image, &fetch)?;
    refuse_streams(&staged.stored.checkpoint.container, &args.create, frozen)?;
    let Remade { container, stored } = remake(store, &staged.stored, &args.create)?;
    match go_on(&container, &stored, args, cidfile) {
        Ok(None) => Ok(0),
        Ok(Some(session)) => {
            drop(staged);
            let Config { stdin_open, tty, .. } = container.config;
            let stdin = args.create.interactive && stdin_open;
            let proxy = Proxy { stdin, tty, signals: !(tty && stdin), detach_keys };
            verbs::ended(&container, session.proxy(&container, &proxy)?)
        }
        Err(failure) => {
            // What could not be brought back was never there.
            container.remove(Removal::Kill, VolumesOf::Remove)?;
            Err(failure)
        }
    }
}

fn remake(store: &Store, stored: &Stored, args: &CreateArgs) -> Result<Remade> {
    if let Rootfs::Image { image, name } = &stored.checkpoint.container.rootfs {
        basis::provide_known(store, image, name, &args.pulling)?;
    }
    let publish = parse::publish(&args.network.publish)?;
    let network = match args.network.network.is_empty() {
        true => None,
        false => Some(network(store, &args.network)?),
    };
    let labels = parse::labels(&args.label);
    Ok(store.remake(
        stored,
        &Remake {
            name: Some(args.name.as_deref().unwrap_or_default()),
            hostname: args.hostname.as_deref(),
            publish: (!publish.is_empty()).then_some(publish.as_slice()),
            network: network.as_ref(),
            auto_remove: Some(args.rm),
            labels: Some(&labels),
            ..Remake::default()
        },
    )?)
}

fn network(store: &Store, args: &NetworkArgs) -> Result<Network> {
    match create::choose_network(store, args, None)? {
        network @ (Network::None | Network::Named(_)) => Ok(network),
        Network::Host | Network::Container(_) => Err(Failure::new(format!(
            "a frozen network namespace cannot become that of --network {}",
            args.network.join(",")
        ))),
    }
}

/// Restores it; with a session that sees all it prints from now on, unless it runs in the background.
fn go_on(
    container: &Container,
    stored: &Stored,
    args: &RunArgs,
    cidfile: Option<&Path>,
) -> Result<Option<stasis_container::attach::Session>> {
    create::write_id(container, cidfile)?;
    // The connections belong to the container that had them.
    let wish = Wish { keeping: Keeping::Inner, ..Wish::default() };
    let restoring = container.begin_restore(stored, wish).map_err(taken)?;
    let session = if args.detach { None } else { Some(container.attach()?) };
    process::tell(&restoring.finish()?, false);
    if args.detach {
        say!("{}", container.config.id);
    }
    Ok(session)
}

/// What to do about a port that somebody else has. The monitor tells of it in words.
fn taken(error: stasis_container::Error) -> Failure {
    let is_taken = error.to_string().contains("is already in use by");
    let failure = Failure::from(error);
    if is_taken { failure.hint("choose other ports with --publish") } else { failure }
}

/// Streams stay what they were.
fn refuse_streams(config: &Config, args: &CreateArgs, frozen: &Frozen) -> Result<()> {
    let missing = match (args.tty && !config.tty, args.interactive && !config.stdin_open) {
        (true, _) => "--tty: it was frozen without a terminal",
        (_, true) => "--interactive: it was frozen without an open standard input",
        (false, false) => return Ok(()),
    };
    Err(Failure::new(format!("the checkpoint of image {} goes on without {missing}", frozen.name)))
}

/// Refuses what was settled when the checkpoint was taken.
fn refuse_frozen(args: &RunArgs, frozen: &Frozen) -> Result<()> {
    let given = of_program(&args.create).into_iter().chain(of_network(&args.create.network));
    let mut given = given.chain(of_health(&args.create.health));
    let what = match (frozen.command.as_slice(), given.find(|(is_given, _)| *is_given)) {
        ([], None) => return Ok(()),
        (_, Some((_, option))) => option.to_owned(),
        (command, None) => format!("the command {:?}", command.join(" ")),
    };
    Err(Failure::new(format!("{what} cannot be given to image {}", frozen.name)).hint(
        "it holds a checkpoint, which goes on with what it ran; -d, -i, -t, --name, --rm, --hostname, --label, \
         --publish, --network and --cidfile can be given",
    ))
}

/// All options are named here, so that each new one is thought of.
fn of_program(args: &CreateArgs) -> Vec<(bool, &'static str)> {
    #[rustfmt::skip]
    let CreateArgs {
        pulling: _, health: _, rootfs: _, name: _, interactive: _, tty: _, rm: _, label: _, cidfile: _,
        hostname: _, network: _, command: _,
        env, env_file, workdir, user, entrypoint, volume, mount, volumes_from, tmpfs, read_only, cap_add,
        cap_drop, privileged, security_opt, memory, cpus, pids_limit, ulimit, stop_signal, stop_timeout,
        restart, init,
    } = args;
    vec![
        (!env.is_empty(), "--env"),
        (!env_file.is_empty(), "--env-file"),
        (workdir.is_some(), "--workdir"),
        (user.is_some(), "--user"),
        (entrypoint.is_some(), "--entrypoint"),
        (!volume.is_empty(), "--volume"),
        (!mount.is_empty(), "--mount"),
        (!volumes_from.is_empty(), "--volumes-from"),
        (!tmpfs.is_empty(), "--tmpfs"),
        (*read_only, "--read-only"),
        (!cap_add.is_empty(), "--cap-add"),
        (!cap_drop.is_empty(), "--cap-drop"),
        (*privileged, "--privileged"),
        (!security_opt.is_empty(), "--security-opt"),
        (memory.is_some(), "--memory"),
        (cpus.is_some(), "--cpus"),
        (pids_limit.is_some(), "--pids-limit"),
        (!ulimit.is_empty(), "--ulimit"),
        (stop_signal.is_some(), "--stop-signal"),
        (stop_timeout.is_some(), "--stop-timeout"),
        (restart != "no", "--restart"),
        (*init, "--init"),
    ]
}

/// Of another network, addresses and names can be given.
fn of_network(args: &NetworkArgs) -> Vec<(bool, &'static str)> {
    #[rustfmt::skip]
    let NetworkArgs {
        network, publish: _, network_alias, ip, ip6, mac_address, publish_all, expose, dns, dns_search,
        dns_option, add_host,
    } = args;
    let is_same = network.is_empty();
    vec![
        (is_same && !network_alias.is_empty(), "--network-alias without --network"),
        (is_same && ip.is_some(), "--ip without --network"),
        (is_same && ip6.is_some(), "--ip6 without --network"),
        (is_same && mac_address.is_some(), "--mac-address without --network"),
        (*publish_all, "--publish-all"),
        (!expose.is_empty(), "--expose"),
        (!dns.is_empty(), "--dns"),
        (!dns_search.is_empty(), "--dns-search"),
        (!dns_option.is_empty(), "--dns-option"),
        (!add_host.is_empty(), "--add-host"),
    ]
}

fn of_health(args: &HealthArgs) -> Vec<(bool, &'static str)> {
    #[rustfmt::skip]
    let HealthArgs {
        health_cmd, health_interval, health_timeout, health_retries, health_start_period,
        health_start_interval, no_healthcheck,
    } = args;
    vec![
        (health_cmd.is_some(), "--health-cmd"),
        (health_interval.is_some(), "--health-interval"),
        (health_timeout.is_some(), "--health-timeout"),
        (health_retries.is_some(), "--health-retries"),
        (health_start_period.is_some(), "--health-start-period"),
        (health_start_interval.is_some(), "--health-start-interval"),
        (*no_healthcheck, "--no-healthcheck"),
    ]
}
