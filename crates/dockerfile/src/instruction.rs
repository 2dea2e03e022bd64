//! The instructions, with their variables still in them or already replaced.

use crate::{
    error::{Error, Fault, Place, Result},
    expand::Expander,
    heredoc::{Heredoc, HeredocVariables},
    mount::{self, Mount},
};

/// The instruction that begins a stage; variables are still in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    pub place: Place,
    pub text: String,
    pub base: String,
    pub platform: Option<String>,
    pub name: Option<String>,
}

/// One instruction and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub place: Place,
    /// The joined line, as it is shown while building.
    pub text: String,
    pub instruction: Instruction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    Add(Add),
    Arg(Vec<ArgDeclaration>),
    Cmd(Command),
    Copy(Copy),
    Entrypoint(Command),
    Env(Vec<Pair>),
    Expose(Vec<String>),
    Healthcheck(Healthcheck),
    Label(Vec<Pair>),
    Maintainer(String),
    /// The text of an instruction for whoever builds on the image.
    Onbuild(String),
    Run(Run),
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// A command for a shell, or a program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Shell(String),
    Exec(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    pub name: String,
    pub default: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    pub transfer: Transfer,
    /// Digest that a downloaded file must have.
    pub checksum: Option<String>,
    pub unpacking: Unpacking,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Stage or image to copy from, instead of the context.
    pub from: Option<String>,
    pub transfer: Transfer,
}

/// Which archives `ADD` unpacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpacking {
    /// Those of the context, but no downloaded ones.
    LocalArchives,
    All,
    None,
}

/// What `ADD` and `COPY` have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub sources: Vec<Source>,
    pub destination: String,
    /// `USER[:GROUP]`
    pub owner: Option<String>,
    /// Octal digits.
    pub mode: Option<String>,
    pub exclude: Vec<String>,
    pub layout: Layout,
}

/// Where copied files come to lie below the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Under their own names.
    Flat,
    /// Under their whole paths (`--parents`).
    Parents,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path with wildcards, or a URL.
    Path(String),
    Inline(Heredoc),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub command: Command,
    pub heredocs: Vec<Heredoc>,
    pub network: RunNetwork,
    pub security: Security,
    pub(crate) mounts: Vec<(String, Place)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunNetwork {
    Default,
    None,
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Sandbox,
    Insecure,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    None,
    Probe(Probe),
}

/// Times are in nanoseconds; nothing means the runtime's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub test: Command,
    pub interval_ns: Option<i64>,
    pub timeout_ns: Option<i64>,
    pub start_period_ns: Option<i64>,
    pub start_interval_ns: Option<i64>,
    pub retries: Option<u32>,
}

/// What a `RUN` executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// A text for the shell.
    Shell(String),
    /// A heredoc that begins with `#!`: a program.
    Program(String),
    /// A program with its arguments.
    Exec(Vec<String>),
}

impl Run {
    /// What is executed. A heredoc that is the whole command is itself the script; others are passed to
    /// the shell together with the command, which reads them.
    pub fn script(&self) -> Script {
        let text = match &self.command {
            Command::Exec(args) => return Script::Exec(args.clone()),
            Command::Shell(text) => text,
        };
        match self.heredocs.as_slice() {
            [] => Script::Shell(text.clone()),
            [only] if is_announcement_alone(text) => match only.content() {
                script if script.starts_with("#!") => Script::Program(script),
                script => Script::Shell(script),
            },
            several => Script::Shell(with_bodies(text, several)),
        }
    }

    /// The mounts, with variables replaced.
    ///
    /// # Errors
    /// Fields that do not exist or do not fit together.
    pub fn mounts(&self, expander: &Expander) -> Result<Vec<Mount>> {
        self.mounts
            .iter()
            .map(|(text, place)| {
                mount::parse(text, *place, expander).map_err(|fault| fault.at(*place))
            })
            .collect()
    }

    /// The stages and images that mounts come from. They are known before any variable has a value.
    pub fn mount_origins(&self) -> impl Iterator<Item = (&str, Place)> {
        self.mounts.iter().flat_map(|(text, place)| {
            text.split(',').filter_map(|field| Some((field.strip_prefix("from=")?, *place)))
        })
    }
}

fn is_announcement_alone(text: &str) -> bool {
    crate::heredoc::announcement(text.trim()).is_some()
}

/// The command and its heredocs as a shell reads them.
pub(crate) fn with_bodies(text: &str, heredocs: &[Heredoc]) -> String {
    let mut script = format!("{text}\n");
    for heredoc in heredocs {
        script.push_str(&heredoc.body);
        script.push_str(&heredoc.name);
        script.push('\n');
    }
    script
}

impl Step {
    /// The instruction with values in the place of variables, where Docker replaces them. `RUN`, `CMD`,
    /// `ENTRYPOINT`, `SHELL`, `HEALTHCHECK` and `ONBUILD` leave variables to whoever executes them.
    ///
    /// # Errors
    /// A substitution that cannot be followed, with the step's place.
    pub fn expand(&self, expander: &Expander) -> Result<Instruction> {
        expanded(&self.instruction, expander).map_err(|fault| fault.at(self.place))
    }

    /// An error about this step.
    pub fn error(&self, what: impl Into<String>) -> Error {
        Error::new(self.place, what)
    }
}

type Expanded<T> = std::result::Result<T, Fault>;

fn expanded(instruction: &Instruction, by: &Expander) -> Expanded<Instruction> {
    use Instruction as I;
    Ok(match instruction {
        I::Add(add) => I::Add(Add {
            transfer: transfer(&add.transfer, by)?,
            checksum: optional(add.checksum.as_ref(), by)?,
            unpacking: add.unpacking,
        }),
        I::Copy(copy) => {
            I::Copy(Copy { from: copy.from.clone(), transfer: transfer(&copy.transfer, by)? })
        }
        I::Arg(list) => {
            I::Arg(list.iter().map(|arg| declaration(arg, by)).collect::<Expanded<_>>()?)
        }
        I::Env(list) => I::Env(pairs(list, by)?),
        I::Label(list) => I::Label(pairs(list, by)?),
        I::Expose(ports) => I::Expose(
            ports.iter().map(|port| by.words(port)).collect::<Expanded<Vec<_>>>()?.concat(),
        ),
        I::Volume(paths) => I::Volume(words(paths, by)?),
        I::Stopsignal(text) => I::Stopsignal(by.word(text)?),
        I::User(text) => I::User(by.word(text)?),
        I::Workdir(text) => I::Workdir(by.word(text)?),
        I::Cmd(_)
        | I::Entrypoint(_)
        | I::Healthcheck(_)
        | I::Maintainer(_)
        | I::Onbuild(_)
        | I::Run(_)
        | I::Shell(_) => instruction.clone(),
    })
}

fn transfer(transfer: &Transfer, by: &Expander) -> Expanded<Transfer> {
    Ok(Transfer {
        sources: transfer.sources.iter().map(|s| source(s, by)).collect::<Expanded<_>>()?,
        destination: by.word(&transfer.destination)?,
        owner: optional(transfer.owner.as_ref(), by)?,
        mode: optional(transfer.mode.as_ref(), by)?,
        exclude: words(&transfer.exclude, by)?,
        layout: transfer.layout,
    })
}

fn source(source: &Source, by: &Expander) -> Expanded<Source> {
    Ok(match source {
        Source::Path(path) => Source::Path(by.word(path)?),
        Source::Inline(heredoc) => Source::Inline(Heredoc {
            body: match heredoc.variables {
                HeredocVariables::Expanded => by.heredoc(&heredoc.body)?,
                HeredocVariables::Literal => heredoc.body.clone(),
            },
            ..heredoc.clone()
        }),
    })
}

fn words(words: &[String], by: &Expander) -> Expanded<Vec<String>> {
    words.iter().map(|word| by.word(word)).collect()
}

fn optional(word: Option<&String>, by: &Expander) -> Expanded<Option<String>> {
    word.map(|word| by.word(word)).transpose()
}

fn pairs(pairs: &[Pair], by: &Expander) -> Expanded<Vec<Pair>> {
    pairs
        .iter()
        .map(|pair| Ok(Pair { key: by.word(&pair.key)?, value: by.word(&pair.value)? }))
        .collect()
}

/// A declaration with its default's variables replaced.
pub(crate) fn declaration(arg: &ArgDeclaration, by: &Expander) -> Expanded<ArgDeclaration> {
    Ok(ArgDeclaration { name: by.word(&arg.name)?, default: optional(arg.default.as_ref(), by)? })
}
