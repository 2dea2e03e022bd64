//! `clone`: new containers from a checkpoint, or from a container as it is now.

use stasis_container::{Cloned, Clones, Hostnames, LeftOut, Store, Wish};
use stasis_engine::{Keeping, Pages};

use super::process;
use crate::{
    args::clone::CloneArgs,
    failure::{Failure, Result},
};

/// The kernel's switch for merging pages: 1 is on.
const MERGING: &str = "/sys/kernel/mm/ksm/run";

pub fn run(store: &Store, args: &CloneArgs) -> Result<i32> {
    let clones = Clones {
        count: args.count,
        prefix: args.name.as_deref(),
        hostnames: if args.own_hostname { Hostnames::Own } else { Hostnames::Same },
        wish: Wish {
            left_out: LeftOut { rootfs: args.ignore_rootfs, volumes: args.ignore_volumes },
            cpu: args.cpu_cap,
            keeping: Keeping::Inner,
            pages: if args.merge_memory { Pages::Mergeable } else { Pages::Own },
        },
    };
    if args.merge_memory && !is_merging() {
        eprintln!(
            "warning: the kernel does not merge pages of memory\n\
             hint:  echo 1 > {MERGING}, which costs processor time and holds for the whole host"
        );
    }
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
    Ok(tell(&made))
}

fn is_merging() -> bool {
    std::fs::read_to_string(MERGING).is_ok_and(|text| text.trim() == "1")
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
