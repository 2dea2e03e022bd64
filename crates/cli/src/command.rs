//! One function per verb.

mod build;
mod change;
mod checkpoint;
mod clone;
mod image;
mod inspect;
mod login;
mod logs;
mod migrate;
mod migration;
mod network;
mod objects;
mod port;
mod process;
mod ps;
mod pull;
mod push;
mod reboot;
mod registry;
mod rewind;
mod run;
mod run_checkpoint;
mod system;
mod verbs;
mod volume;

use clap::CommandFactory;
use stasis_container::{Container, Home, Ksm, Store, init, launcher};
use stasis_store::Bounds;

use crate::{
    args::{Cli, Command, ContainerCommand, ContainersCommand},
    failure::{Failure, Result},
    parse,
};

/// Does what the command line says; gives the exit code.
pub fn run(cli: Cli) -> Result<i32> {
    let level = match cli.verbose {
        0 => cli.log_level,
        1 => tracing::Level::INFO.max(cli.log_level),
        _ => tracing::Level::DEBUG.max(cli.log_level),
    };
    let home = Home::new(absolute(&cli.root)?, absolute(&cli.runroot)?)
        .with_image_bounds(image_bounds(cli.max_layer_size.as_deref())?);
    // These two set up their own logging.
    if !matches!(cli.command, Command::InternalLaunch | Command::Process(_)) {
        log_to_stderr(level);
    }
    let store = Store::new(home.clone());
    if cli.command.looks_at_containers() {
        build::sweep(&home);
        sweep(&store);
    }
    match cli.command {
        Command::Container(command) => container(&store, command),
        Command::Containers(command) => containers(&store, command.0),
        Command::Registry(command) => registry::run(&home, command),
        Command::Image(command) => image::run_top(&store, command),
        Command::Images(command) => image::run(&home, &store, command.0),
        Command::System(command) => system::run(&store, command.0),
        Command::Checkpoint(command) => checkpoint::run(&store, command.0),
        Command::Clone(args) => clone::run(&store, &args),
        Command::Builder(command) => build::builder(&store, command.0),
        Command::Volume(command) => volume::run(&store.volumes(), command.0),
        Command::Network(command) => network::run(&store, command.0),
        Command::Process(command) => process::run(&home, command.0, level),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "stasis", &mut script);
            say!("{}", String::from_utf8_lossy(&script).trim_end());
            Ok(0)
        }
        Command::InternalLaunch => Ok(launcher::main().map(|()| 0)?),
        Command::InternalInit { args } => Ok(init::main(&args)),
    }
}

fn containers(store: &Store, command: ContainersCommand) -> Result<i32> {
    match command {
        ContainersCommand::Verb(command) => container(store, command),
        ContainersCommand::Ls(args) => ps::run(store, &args),
        ContainersCommand::Prune(args) => change::prune(store, &args),
        ContainersCommand::Checkpoint(args) => migration::checkpoint(store, &args),
        ContainersCommand::Restore(args) => migration::restore(store, &args),
        ContainersCommand::Migrate(args) => migrate::migrate(store, &args),
        ContainersCommand::Receive => migrate::receive(store),
    }
}

fn container(store: &Store, command: ContainerCommand) -> Result<i32> {
    use ContainerCommand as C;
    match command {
        C::Run(args) => run::run(store, &args).map_err(Failure::before_any_program),
        C::Create(args) => verbs::create(store, &args).map_err(Failure::before_any_program),
        C::Start(args) => verbs::start(store, &args),
        C::Rewind(args) => rewind::run(store, &args),
        C::Stop(args) => each(store, &args.containers, |c| Ok(c.stop(args.timeout)?)),
        C::Restart(args) => each(store, &args.containers, |c| verbs::restart(c, args.timeout)),
        C::Kill(args) => verbs::kill(store, &args),
        C::Rm(args) => verbs::remove(store, &args),
        C::Ps(args) => ps::run(store, &args),
        C::Logs(args) => logs::run(store, &args),
        C::Exec(args) => verbs::exec(store, &args),
        C::Attach(args) => verbs::attach(store, &args),
        C::Inspect(args) => inspect::run(store, &args),
        C::Wait(args) => verbs::wait(store, &args.containers),
        C::Pause(args) => each(store, &args.containers, |c| Ok(c.pause()?)),
        C::Unpause(args) => each(store, &args.containers, |c| Ok(c.unpause()?)),
        C::Top(args) => verbs::top(store, &args.container),
        C::Port(args) => port::run(store, &args),
        C::Commit(args) => change::commit(store, &args),
        C::Diff(args) => change::diff(store, &args),
        C::Cp(args) => change::copy(store, &args),
        C::Export(args) => change::export(store, &args),
        C::Rename(args) => change::rename(store, &args),
        C::Update(args) => change::update(store, &args),
    }
}

/// Does one thing to several containers, and prints what each was called; one that fails does not
/// keep the others from their turn.
fn each(store: &Store, keys: &[String], act: impl Fn(&Container) -> Result<()>) -> Result<i32> {
    let mut code = 0;
    for key in keys {
        match store.find(key).map_err(Failure::from).and_then(|container| act(&container)) {
            Ok(()) => say!("{key}"),
            Err(failure) => {
                eprintln!("{failure}");
                code = failure.code;
            }
        }
    }
    Ok(code)
}

/// What killed monitors, killed receivers, killed clonings and reboots have left goes with the next
/// command, whatever that is. It must not fail for it.
fn sweep(store: &Store) {
    for swept in [store.sweep_arrivals(), store.sweep_networks(), Ksm::of_host().sweep()] {
        if let Err(error) = swept {
            tracing::warn!("{error}");
        }
    }
}

pub fn image_bounds(max_layer_size: Option<&str>) -> Result<Bounds> {
    let Some(text) = max_layer_size else { return Ok(Bounds::default()) };
    match u64::try_from(parse::bytes(text)?) {
        Ok(max_bytes) => Ok(Bounds::up_to(max_bytes)),
        Err(_) => Err(Failure::new(format!("{text:?} is not a size of layers"))),
    }
}

fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf> {
    Ok(std::path::absolute(path)?)
}

pub fn log_to_stderr(level: tracing::Level) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .finish();
    // Fails only if there is a subscriber already.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
