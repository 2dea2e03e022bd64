//! `clone`: new containers from a checkpoint, or from a container as it is now.

use stasis_container::{Cloned, Clones, Hostnames, Ksm, LeftOut, Merging, Store, Wish};
use stasis_engine::{Keeping, Pages};

use super::process;
use crate::{
    args::clone::CloneArgs,
    failure::{Failure, Result},
};

pub fn run(store: &Store, args: &CloneArgs) -> Result<i32> {
    let clones = Clones {
        count: args.count,
        prefix: args.name.as_deref(),
        hostnames: if args.own_hostname { Hostnames::Own } else { Hostnames::Same },
        wish: Wish {
            left_out: LeftOut { rootfs: args.ignore_rootfs, volumes: args.ignore_volumes },
            cpu: args.cpu_cap,
            keeping: Keeping::Inner,
            pages: match args.merge_memory && Ksm::of_host().is_there() {
                true => Pages::Mergeable,
                false => Pages::Own,
            },
        },
    };
    let made = match store.find(&args.source) {
        Ok(container) => {
            let passing = container.checkpoint_in_passing().map_err(|error| {
                let name = &container.config.name;
                let hint =
                    format!("to make clones of a checkpoint of it: stasis clone {name}/NAME");
                Failure::from(error).hint(hint)
            })?;
            store.clones(&passing.stored, &clones)?
        }
        Err(_) => store.clones(&store.checkpoints().find(&args.source)?, &clones)?,
    };
    let code = tell(&made);
    if args.merge_memory && made.iter().any(|cloned| cloned.outcome.is_ok()) {
        merge();
    }
    Ok(code)
}

/// The clones run already, and do so as well if no page of them is shared.
fn merge() {
    let reason = match Ksm::of_host().merge() {
        Ok(Merging::Done | Merging::Continuous) => return,
        Ok(Merging::Unfinished) => "the kernel has not come through all of it in time".into(),
        Ok(Merging::Forbidden) => {
            "the administrator forbids it (/sys/kernel/mm/ksm/run is 2)".into()
        }
        Err(error) => error.to_string(),
    };
    eprintln!(
        "warning: not all memory that the clones have in common is shared\n\
         cause: {reason}\n\
         hint:  with --merge-memory=false nobody tries"
    );
}

/// Prints ids; exit code 1 if one could not be made.
fn tell(made: &[Cloned]) -> i32 {
    let mut code = 0;
    for Cloned { name, outcome } in made {
        match outcome {
            Ok((container, report)) => {
                say!("{}", container.config.id);
                process::tell(report, false);
            }
            Err(error) => {
                eprintln!("error: container {name} was not made\ncause: {error}");
                code = 1;
            }
        }
    }
    code
}
