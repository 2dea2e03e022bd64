//! What a container is made from: an image with its configuration, or a directory of the host.

use stasis_container::{Store, config::Rootfs, is_of_checkpoint};
use stasis_oci::{Digest, RunConfig};
use stasis_registry::{Progress, PullOptions, PullPolicy, Silent};
use stasis_store::{Hold, Image};

use crate::{
    args::{CreateArgs, registry::PullingArgs},
    failure::{Failure, Result},
    parse,
    progress::{Bars, Place, Words},
    registry,
};

/// The root file system, and what the image says a container starts with.
pub struct Basis {
    pub rootfs: Rootfs,
    pub defaults: RunConfig,
    /// What was typed behind the image.
    pub command: Vec<String>,
    /// The image stays until the container is there.
    _hold: Option<Hold>,
}

/// An image that holds a checkpoint.
pub struct Frozen {
    pub image: Image,
    /// As it was typed.
    pub name: String,
    /// What was typed behind it.
    pub command: Vec<String>,
    /// The image stays until the container is there.
    _hold: Hold,
}

/// How a container begins.
pub enum Beginning {
    Program(Box<Basis>),
    Checkpoint(Box<Frozen>),
}

/// Finds the image, or gets it from its registry.
pub fn of(store: &Store, args: &CreateArgs) -> Result<Beginning> {
    let policy = pull_policy(&args.pulling.pull)?;
    if let Some(dir) = &args.rootfs {
        let (rootfs, command) = (parse::rootfs(dir)?, args.command.clone());
        let basis = Basis { rootfs, defaults: RunConfig::default(), command, _hold: None };
        return Ok(Beginning::Program(Box::new(basis)));
    }
    let Some((name, command)) = args.command.split_first() else {
        return Err(Failure::new("no image to make the container of")
            .hint("name an image, or give a directory: --rootfs DIR or --rootfs DIR:O"));
    };
    let hold = store.images().hold()?;
    let image = provide(store, name, policy, &args.pulling)?;
    let (name, command) = (name.clone(), command.to_vec());
    if is_of_checkpoint(&image) {
        let frozen = Frozen { image, name, command, _hold: hold };
        return Ok(Beginning::Checkpoint(Box::new(frozen)));
    }
    let basis = Basis {
        rootfs: Rootfs::Image { image: image.id, name },
        defaults: image.config.config,
        command,
        _hold: Some(hold),
    };
    Ok(Beginning::Program(Box::new(basis)))
}

fn pull_policy(text: &str) -> Result<PullPolicy> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => Err(Failure::new(format!("{text:?} is not a policy of --pull"))
            .hint("use always, missing or never")),
    }
}

/// The image by that name. What is said of pulling goes to standard error: standard output is the
/// container's.
fn provide(store: &Store, name: &str, policy: PullPolicy, args: &PullingArgs) -> Result<Image> {
    let images = store.images();
    let is_missing = matches!(images.find(name), Err(stasis_store::Error::NoSuchImage(_)));
    if is_missing && policy == PullPolicy::Missing && !args.quiet {
        eprintln!("Unable to find image {name:?} locally");
    }
    let options = PullOptions {
        access: registry::access(store.home(), &args.access, None)?,
        platform: args.platform.as_deref().map(str::parse).transpose()?,
    };
    let progress: Box<dyn Progress> = match args.quiet {
        true => Box::new(Silent),
        false => Box::new(Bars::new(Words::Pull, Place::Err)),
    };
    let obtained = stasis_registry::obtain(&images, name, policy, &options, &*progress);
    drop(progress);
    obtained.map_err(|error| match error {
        stasis_registry::Error::Store(error) => error.into(),
        other => registry::failure(format!("cannot pull {name}"), other),
    })
}

/// Brings an image of this name here, unless the user does not want that.
pub fn fetch(store: &Store, name: &str, args: &PullingArgs) -> Result<()> {
    match pull_policy(&args.pull)? {
        PullPolicy::Never => Ok(()),
        policy @ (PullPolicy::Missing | PullPolicy::Always) => {
            provide(store, name, policy, args).map(|_| ())
        }
    }
}

/// Sees to it that an image is here that is known by its id, and had this name.
pub fn provide_known(store: &Store, id: &Digest, name: &str, args: &PullingArgs) -> Result<()> {
    let images = store.images();
    let is_here = || images.find_id(id).is_ok();
    let policy = pull_policy(&args.pull)?;
    if policy == PullPolicy::Never || is_here() {
        return Ok(());
    }
    // What bears the name here may be another one.
    let image = provide(store, name, PullPolicy::Always, args)?;
    if is_here() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "image {name} is another one now: the checkpoint stands on {}, and this is {}",
        id.short(),
        image.id.short()
    ))
    .hint("bring that image by stasis save and stasis load from where the checkpoint comes"))
}

/// Program and arguments by Docker's rules.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    pub entrypoint: Option<Vec<String>>,
    /// With the entry point.
    pub args: Vec<String>,
}

impl Program {
    /// An entry point that is typed puts the image's command away too; an empty one takes the
    /// image's entry point away.
    pub fn of(args: &CreateArgs, basis: &Basis) -> Result<Program> {
        let image = &basis.defaults;
        let (entrypoint, default_command) = match args.entrypoint.as_deref() {
            Some("") => (None, None),
            Some(typed) => (Some(vec![typed.to_owned()]), None),
            None => (image.entrypoint.clone(), image.cmd.clone()),
        };
        let command = match basis.command.as_slice() {
            [] => default_command.unwrap_or_default(),
            typed => typed.to_vec(),
        };
        let entrypoint = entrypoint.filter(|words| !words.is_empty());
        let args = [entrypoint.clone().unwrap_or_default(), command].concat();
        if args.is_empty() {
            return Err(Failure::new("no command to run in the container")
                .hint("write it behind the image, or give an --entrypoint"));
        }
        Ok(Program { entrypoint, args })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, ContainerCommand};

    fn program(entrypoint: &[&str], typed: &[&str]) -> Option<Vec<String>> {
        let words = [&["stasis", "create"], entrypoint, &["image"], typed].concat();
        let Command::Container(ContainerCommand::Create(args)) = Cli::parse_from(words).command
        else {
            panic!()
        };
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect());
        let defaults = RunConfig {
            entrypoint: words("entry point"),
            cmd: words("cmd"),
            ..RunConfig::default()
        };
        let rootfs = parse::rootfs("/").unwrap();
        let command = args.command[1..].to_vec();
        let basis = Basis { rootfs, defaults, command, _hold: None };
        Program::of(&args, &basis).ok().map(|program| program.args)
    }

    #[test]
    fn entry_point_and_command_by_dockers_rules() {
        let check = |entrypoint: &[&str], typed: &[&str], expect: Option<&str>| {
            let expect = expect.map(|text| text.split(' ').map(str::to_owned).collect());
            assert_eq!(program(entrypoint, typed), expect, "{entrypoint:?} {typed:?}");
        };
        check(&[], &[], Some("entry point cmd"));
        check(&[], &["-x"], Some("entry point -x"));
        check(&["--entrypoint", "own"], &[], Some("own"));
        check(&["--entrypoint", "own"], &["-x"], Some("own -x"));
        check(&["--entrypoint", ""], &["sh"], Some("sh"));
        check(&["--entrypoint", ""], &[], None);
    }
}
