use stasis_engine::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = std::path::PathBuf::from(&args[3]);
    match args[1].as_str() {
        "dump" | "keep" => {
            let r = checkpoint(CheckpointOptions {
                root: args[2].parse().unwrap(),
                images_dir: dir,
                fate: if args[1] == "dump" { Fate::Kill } else { Fate::LeaveRunning },
                shell_job: false,
                cgroup: None,
                externals: Externals::default(),
                while_stopped: None,
            });
            match r {
                Ok(r) => println!("{r:#?}"),
                Err(e) => {
                    println!("{e}");
                    std::process::exit(1)
                }
            }
        }
        "restore" => {
            let r = restore(RestoreOptions {
                images_dir: dir,
                root: RestoreRoot::New,
                shell_job: false,
                inherited: Default::default(),
            });
            match r {
                Ok(r) => println!("{r:#?}"),
                Err(e) => {
                    println!("{e}");
                    std::process::exit(1)
                }
            }
        }
        _ => {}
    }
}
