//! run.

use stasis_container::{
    Container, Removal, Store, VolumesOf,
    attach::{self, Proxy},
};

use super::{run_checkpoint, verbs};
use crate::{
    args::RunArgs,
    basis::{self, Beginning},
    create,
    failure::{Failure, Result},
};

/// Creates a container and starts it; without `-d` its exit code is ours.
pub fn run(store: &Store, args: &RunArgs) -> Result<i32> {
    let detach_keys = attach::parse_detach_keys(&args.detach_keys)?;
    if args.create.tty && args.create.interactive && !args.detach && !attach::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a terminal").hint("leave out -t, or -i"));
    }
    let basis = match basis::of(store, &args.create)? {
        Beginning::Program(basis) => basis,
        Beginning::Checkpoint(frozen) => {
            return run_checkpoint::run(store, args, &frozen, detach_keys);
        }
    };
    let container = create::of_program(store, &args.create, &basis)?;
    let started = start_created(&container, args, detach_keys);
    if started.is_err() && args.create.rm {
        // It never ran, so nobody else removes it.
        let _ = container.remove(Removal::Kill, VolumesOf::Remove);
    }
    started
}

fn start_created(container: &Container, args: &RunArgs, detach_keys: Vec<u8>) -> Result<i32> {
    let starting = container.begin_start()?;
    if args.detach {
        starting.release()?;
        say!("{}", container.config.id);
        return Ok(0);
    }
    let session = container.attach()?;
    starting.release()?;
    let proxy = Proxy {
        stdin: args.create.interactive,
        tty: args.create.tty,
        signals: !args.create.tty || !args.create.interactive,
        detach_keys,
    };
    verbs::ended(container, session.proxy(container, &proxy)?)
}
