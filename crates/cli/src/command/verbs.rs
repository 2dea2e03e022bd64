//! create, start, restart, kill, rm, exec, attach, wait, top.

use std::io::Write;

use stasis_container::{
    Container, Error, ExecOptions, Removal, Store, VolumesOf,
    attach::{self, Ended, Proxy},
    signal,
};

use super::{checkpoint, each};
use crate::{
    args::{AttachArgs, CreateArgs, ExecArgs, KillArgs, RmArgs, StartArgs},
    create,
    failure::{Failure, Result},
    parse, table,
};

/// The exit code of a verb whose session with a container has ended.
pub fn ended(container: &Container, ended: Ended) -> Result<i32> {
    match ended {
        Ended::Exited(code) => Ok(code),
        Ended::Detached => Ok(0),
        Ended::Lost => Ok(container.wait()?),
    }
}

pub fn create(store: &Store, args: &CreateArgs) -> Result<i32> {
    say!("{}", create::create(store, args)?.config.id);
    Ok(0)
}

/// Starts containers from their beginning, or one from a checkpoint.
pub fn start(store: &Store, args: &StartArgs) -> Result<i32> {
    let is_foreground = args.attach || args.interactive;
    if args.containers.len() > 1 && (is_foreground || args.checkpoint.is_some()) {
        return Err(Failure::new(
            "only one container can be attached to or start from a checkpoint",
        ));
    }
    if args.checkpoint.is_none() && args.checkpoint_dir.is_some() {
        return Err(Failure::new("--checkpoint-dir needs --checkpoint"));
    }
    if !is_foreground {
        return each(store, &args.containers, |container| match &args.checkpoint {
            Some(name) => super::checkpoint::start(container, name, args),
            None => match container.begin_start() {
                Err(Error::WrongState { .. }) if is_up(container) => Ok(()),
                other => Ok(other?.release()?),
            },
        });
    }
    let container = store.find(&args.containers[0])?;
    start_attached(&container, args).map_err(Failure::before_any_program)
}

fn is_up(container: &Container) -> bool {
    container.state().is_ok_and(|state| state.status.is_up())
}

fn start_attached(container: &Container, args: &StartArgs) -> Result<i32> {
    let proxy = Proxy {
        stdin: args.interactive && container.config.stdin_open,
        tty: container.config.tty,
        signals: args.attach && !container.config.tty,
        detach_keys: attach::parse_detach_keys(&args.detach_keys)?,
    };
    let session = match &args.checkpoint {
        Some(name) => super::checkpoint::start_attached(container, name, args)?,
        None => {
            let starting = container.begin_start()?;
            let session = container.attach()?;
            starting.release()?;
            session
        }
    };
    ended(container, session.proxy(container, &proxy)?)
}

pub fn restart(container: &Container, timeout: Option<i64>) -> Result<()> {
    container.stop(timeout)?;
    Ok(container.begin_start()?.release()?)
}

pub fn kill(store: &Store, args: &KillArgs) -> Result<i32> {
    let signal = signal::parse(&args.signal)?;
    each(store, &args.containers, |container| Ok(container.kill(signal)?))
}

pub fn remove(store: &Store, args: &RmArgs) -> Result<i32> {
    let removal = if args.force { Removal::Kill } else { Removal::Refuse };
    let volumes = if args.volumes { VolumesOf::Remove } else { VolumesOf::Keep };
    let mut code = 0;
    for key in &args.containers {
        match store.find(key).and_then(|container| {
            container.remove(removal, volumes)?;
            Ok(container)
        }) {
            Ok(container) => {
                say!("{key}");
                code = code.max(look_after_checkpoints(store, &container, args));
            }
            // As with rm -f of a file that is not there.
            Err(error @ Error::NoSuchContainer(_)) if args.force => {
                eprintln!("{}", Failure::from(error));
            }
            Err(error) => {
                eprintln!("{}", Failure::from(error));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// They outlive the container unless the user wants it otherwise.
fn look_after_checkpoints(store: &Store, container: &Container, args: &RmArgs) -> i32 {
    let done = match args.checkpoints {
        true => checkpoint::remove_of(store, container),
        false => checkpoint::tell_of(store, container),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("{failure}");
            1
        }
    }
}

pub fn exec(store: &Store, args: &ExecArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    if args.tty && args.interactive && !args.detach && !attach::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a terminal").hint("leave out -t, or -i"));
    }
    let options = ExecOptions {
        args: args.command.clone(),
        env: parse::environment(&args.env_file, &args.env)?,
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        privileged: args.privileged,
        tty: args.tty,
        stdin: args.interactive,
        detach: args.detach,
        detach_keys: attach::parse_detach_keys(&args.detach_keys)?,
    };
    Ok(container.exec(&options)?)
}

pub fn attach(store: &Store, args: &AttachArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    let proxy = Proxy {
        stdin: !args.no_stdin && container.config.stdin_open,
        tty: container.config.tty,
        signals: args.sig_proxy && !container.config.tty,
        detach_keys: attach::parse_detach_keys(&args.detach_keys)?,
    };
    let session = container.attach()?;
    ended(&container, session.proxy(&container, &proxy)?)
}

pub fn wait(store: &Store, keys: &[String]) -> Result<i32> {
    for key in keys {
        say!("{}", store.find(key)?.wait()?);
        std::io::stdout().flush()?;
    }
    Ok(0)
}

pub fn top(store: &Store, key: &str) -> Result<i32> {
    let rows: Vec<Vec<String>> = store
        .find(key)?
        .top()?
        .into_iter()
        .map(|row| {
            vec![
                row.user,
                row.pid.to_string(),
                row.parent.to_string(),
                row.cpu_percent.to_string(),
                row.started,
                row.terminal,
                row.time,
                row.command,
            ]
        })
        .collect();
    let header = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    say!("{}", table::render(&header, &rows));
    Ok(0)
}
