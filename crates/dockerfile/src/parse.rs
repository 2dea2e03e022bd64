//! One line, one instruction.

use std::ops::RangeFrom;

use crate::{
    duration,
    error::{Error, Fault, Place, Result},
    expand::Expander,
    flags::Flags,
    form, heredoc,
    instruction::{
        Add, Command, Copy, From, Healthcheck, Instruction, Layout, Probe, Run, RunNetwork,
        Security, Source, Step, Transfer, Unpacking, with_bodies,
    },
    line::{Line, Lines},
    mount, pairs, words,
};

/// A line begins a stage, or is a step of one.
pub(crate) enum Statement {
    From(From),
    Step(Step),
}

/// Reads the trigger that a base image left by `ONBUILD`; `place` is that of the `FROM`.
///
/// # Errors
/// A trigger that is no instruction, or one that cannot be a trigger.
pub fn parse_trigger(text: &str, place: Place) -> Result<Step> {
    let mut lines = Lines::new(text, '\\');
    let (text, heredocs) = lines.next()?.map(|line| (line.text, line.heredocs)).unwrap_or_default();
    let line = Line::at(place, &text, heredocs);
    match statement(&line, '\\')? {
        Statement::Step(step) if !matches!(step.instruction, Instruction::Onbuild(_)) => Ok(step),
        _ => Err(Error::new(place, format!("{text:?} cannot be a trigger of a base image"))),
    }
}

pub(crate) fn statement(line: &Line, escape: char) -> Result<Statement> {
    let end = line.text.find(char::is_whitespace).unwrap_or(line.text.len());
    let keyword = line.text[..end].to_ascii_uppercase();
    let parser = Parser { line, keyword, at: end, escape };
    if parser.keyword == "FROM" {
        return parser.from().map(Statement::From);
    }
    let instruction = parser.instruction()?;
    Ok(Statement::Step(Step { place: line.place(), text: line.text.clone(), instruction }))
}

struct Parser<'l> {
    line: &'l Line,
    keyword: String,
    /// Where the keyword ends.
    at: usize,
    escape: char,
}

impl Parser<'_> {
    fn instruction(&self) -> Result<Instruction> {
        use Instruction as I;
        match self.keyword.as_str() {
            "ADD" => self.add().map(I::Add),
            "COPY" => self.copy().map(I::Copy),
            "RUN" => self.run().map(I::Run),
            "HEALTHCHECK" => self.healthcheck().map(I::Healthcheck),
            _ => self.without_flags(),
        }
    }

    fn without_flags(&self) -> Result<Instruction> {
        use Instruction as I;
        let arguments = self.flags()?;
        arguments.finish()?;
        let rest = arguments.rest..;
        let located = |(offset, fault): (usize, Fault)| self.fault(rest.start + offset, fault);
        let text = &self.line.text[rest.clone()];
        let keyword = self.keyword.as_str();
        match keyword {
            "ARG" => pairs::declarations(text, self.escape).map(I::Arg).map_err(located),
            "ENV" => pairs::pairs(keyword, text, self.escape).map(I::Env).map_err(located),
            "LABEL" => pairs::pairs(keyword, text, self.escape).map(I::Label).map_err(located),
            "CMD" => self.command(rest).map(I::Cmd),
            "ENTRYPOINT" => self.command(rest).map(I::Entrypoint),
            "EXPOSE" => self.several(rest).map(I::Expose),
            "MAINTAINER" => self.one(rest).map(I::Maintainer),
            "ONBUILD" => self.onbuild(rest).map(I::Onbuild),
            "SHELL" => self.shell(rest).map(I::Shell),
            "STOPSIGNAL" => self.one(rest).map(I::Stopsignal),
            "USER" => self.one(rest).map(I::User),
            "VOLUME" => self.volume(rest).map(I::Volume),
            "WORKDIR" => self.one(rest).map(I::Workdir),
            _ => Err(self.unknown()),
        }
    }

    fn unknown(&self) -> Error {
        Error::new(self.line.place(), format!("unknown instruction {:?}", self.keyword)).hint(
            "expected one of ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL \
             ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR",
        )
    }

    fn from(&self) -> Result<From> {
        let mut flags = self.flags()?;
        let platform = flags.value("platform")?;
        flags.finish()?;
        let words = words::split_plain(&self.line.text[flags.rest..]);
        let name = match words.as_slice() {
            [_] => None,
            [_, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
                Some(self.stage_name(name.text, flags.rest + name.offset)?)
            }
            _ => {
                return Err(Error::new(self.line.place(), "FROM requires one or three arguments")
                    .hint("expected FROM IMAGE, or FROM IMAGE AS NAME"));
            }
        };
        let base = words[0].text.to_owned();
        let text = self.line.text.clone();
        Ok(From { place: self.line.place(), text, base, platform, name })
    }

    fn stage_name(&self, name: &str, offset: usize) -> Result<String> {
        let name = name.to_ascii_lowercase();
        let is_valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        match name.as_str() {
            "scratch" | "context" => Err(self.error(offset, format!("{name} is a reserved name"))),
            _ if is_valid => Ok(name),
            _ => Err(self
                .error(offset, format!("{name:?} cannot be the name of a stage"))
                .hint("expected a letter, then letters, digits, hyphens, underscores and dots")),
        }
    }

    fn add(&self) -> Result<Add> {
        let mut flags = self.flags()?;
        let checksum = flags.value("checksum")?;
        let unpacking = match flags.value("unpack")?.as_deref() {
            None => Unpacking::LocalArchives,
            Some("true" | "1") => Unpacking::All,
            Some("false" | "0") => Unpacking::None,
            Some(_) => return Err(self.error(self.at, "--unpack must be true or false")),
        };
        // The history of a repository: repositories as sources are refused when the step is executed.
        flags.is_set("keep-git-dir")?;
        let transfer = self.transfer(flags)?;
        Ok(Add { transfer, checksum, unpacking })
    }

    fn copy(&self) -> Result<Copy> {
        let mut flags = self.flags()?;
        let from = flags.value("from")?;
        if from.as_ref().is_some_and(|from| from.contains('$')) {
            return Err(self.error(self.at, "--from does not know variables").hint(
                "give the image a name by a stage: ARG before the first FROM, then \
                 FROM ${VARIABLE} AS NAME",
            ));
        }
        let transfer = self.transfer(flags)?;
        match (&from, transfer.sources.iter().any(|source| matches!(source, Source::Inline(_)))) {
            (Some(_), true) => Err(self.error(self.at, "--from and heredocs exclude each other")),
            _ => Ok(Copy { from, transfer }),
        }
    }

    fn transfer(&self, mut flags: Flags) -> Result<Transfer> {
        let owner = flags.value("chown")?;
        let mode = flags.value("chmod")?;
        let exclude = flags.values("exclude")?;
        // A hint for sharing layers between bases; the files are the same with and without.
        flags.is_set("link")?;
        let layout = if flags.is_set("parents")? { Layout::Parents } else { Layout::Flat };
        flags.finish()?;
        let mut words = self.list(flags.rest..)?;
        let destination = words.pop().unwrap_or_default();
        if words.is_empty() {
            let what = format!("{} requires at least two arguments", self.keyword);
            return Err(Error::new(self.line.place(), what).hint("expected SOURCE... DESTINATION"));
        }
        let mut heredocs = self.line.heredocs.iter();
        let sources = words
            .into_iter()
            .map(|word| match heredoc::announcement(&word).and_then(|_| heredocs.next()) {
                Some(heredoc) => Source::Inline(heredoc.clone()),
                None => Source::Path(word),
            })
            .collect();
        Ok(Transfer { sources, destination, owner, mode, exclude, layout })
    }

    fn run(&self) -> Result<Run> {
        let mut flags = self.flags()?;
        let mounts = flags.placed_values("mount")?;
        let network = match flags.value("network")?.as_deref() {
            None | Some("default") => RunNetwork::Default,
            Some("none") => RunNetwork::None,
            Some("host") => RunNetwork::Host,
            Some(other) => {
                return Err(self
                    .error(self.at, format!("unknown network {other:?} of RUN"))
                    .hint("expected default, none or host"));
            }
        };
        let security = match flags.value("security")?.as_deref() {
            None | Some("sandbox") => Security::Sandbox,
            Some("insecure") => Security::Insecure,
            Some(other) => {
                return Err(self
                    .error(self.at, format!("unknown security mode {other:?} of RUN"))
                    .hint("expected sandbox or insecure"));
            }
        };
        flags.finish()?;
        let command = self.command(flags.rest..)?;
        if command == Command::Exec(Vec::new()) {
            return Err(self.needs_arguments());
        }
        check_mounts(&mounts)?;
        Ok(Run { command, heredocs: self.line.heredocs.clone(), network, security, mounts })
    }

    fn healthcheck(&self) -> Result<Healthcheck> {
        let mut flags = self.flags()?;
        let mut duration = |name| -> Result<Option<i64>> {
            let values = flags.placed_values(name)?;
            let parsed = values
                .last()
                .map(|(text, place)| duration::parse(text).map_err(|fault| fault.at(*place)));
            parsed.transpose()
        };
        let interval_ns = duration("interval")?;
        let timeout_ns = duration("timeout")?;
        let start_period_ns = duration("start-period")?;
        let start_interval_ns = duration("start-interval")?;
        let retries = flags
            .value("retries")?
            .map(|text| text.parse().map_err(|_| self.error(self.at, "--retries must be a number")))
            .transpose()?;
        flags.finish()?;
        let word = words::next(&self.line.text, flags.rest, self.escape);
        let kind = word.map_or(String::new(), |word| word.text.to_ascii_uppercase());
        let rest = word.map_or(self.line.text.len(), |word| word.end());
        match kind.as_str() {
            "NONE" if self.text(rest..).is_empty() => Ok(Healthcheck::None),
            "CMD" => {
                let test = self.command(rest..)?;
                Ok(Healthcheck::Probe(Probe {
                    test,
                    interval_ns,
                    timeout_ns,
                    start_period_ns,
                    start_interval_ns,
                    retries,
                }))
            }
            _ => Err(self
                .error(flags.rest, format!("unknown form of HEALTHCHECK {kind:?}"))
                .hint("expected HEALTHCHECK CMD COMMAND, or HEALTHCHECK NONE")),
        }
    }

    fn onbuild(&self, rest: RangeFrom<usize>) -> Result<String> {
        let text = self.text(rest.clone());
        if text.is_empty() {
            return Err(self.needs_arguments());
        }
        let start = rest.start + self.line.text[rest].find(text).unwrap_or(0);
        let place = self.line.place_of(start);
        let trigger = Line::at(place, text, self.line.heredocs.clone());
        let refused =
            |name: &str| Err(self.error(start, format!("{name} cannot be the trigger of ONBUILD")));
        match statement(&trigger, self.escape)? {
            Statement::From(_) => refused("FROM"),
            Statement::Step(step) => match step.instruction {
                Instruction::Onbuild(_) => refused("ONBUILD"),
                Instruction::Maintainer(_) => refused("MAINTAINER"),
                _ if self.line.heredocs.is_empty() => Ok(text.to_owned()),
                _ => Ok(with_bodies(text, &self.line.heredocs)),
            },
        }
    }

    fn shell(&self, rest: RangeFrom<usize>) -> Result<Vec<String>> {
        match self.command(rest)? {
            Command::Exec(words) if !words.is_empty() => Ok(words),
            _ => Err(self
                .error(self.at, "SHELL requires its arguments in JSON form")
                .hint("expected something like SHELL [\"/bin/sh\", \"-c\"]")),
        }
    }

    fn volume(&self, rest: RangeFrom<usize>) -> Result<Vec<String>> {
        let paths = self.list(rest)?;
        match paths.iter().any(|path| path.trim().is_empty()) || paths.is_empty() {
            true => Err(self.needs_arguments()),
            false => Ok(paths),
        }
    }

    /// JSON form, or else a text for the shell.
    fn command(&self, rest: RangeFrom<usize>) -> Result<Command> {
        let text = self.text(rest.clone());
        match form::json(text).map_err(|fault| self.fault(rest.start, fault))? {
            Some(words) => Ok(Command::Exec(words)),
            None if text.is_empty() => Err(self.needs_arguments()),
            None => Ok(Command::Shell(text.to_owned())),
        }
    }

    /// JSON form, or else words.
    fn list(&self, rest: RangeFrom<usize>) -> Result<Vec<String>> {
        let text = self.text(rest.clone());
        match form::json(text).map_err(|fault| self.fault(rest.start, fault))? {
            Some(words) => Ok(words),
            None => Ok(text.split_whitespace().map(str::to_owned).collect()),
        }
    }

    fn several(&self, rest: RangeFrom<usize>) -> Result<Vec<String>> {
        let words: Vec<String> = self.text(rest).split_whitespace().map(str::to_owned).collect();
        if words.is_empty() { Err(self.needs_arguments()) } else { Ok(words) }
    }

    /// All that follows, as one argument.
    fn one(&self, rest: RangeFrom<usize>) -> Result<String> {
        match self.text(rest) {
            "" => Err(self.needs_arguments()),
            text => Ok(text.to_owned()),
        }
    }

    fn text(&self, rest: RangeFrom<usize>) -> &str {
        self.line.text[rest].trim()
    }

    fn flags(&self) -> Result<Flags> {
        Flags::cut(self.line, &self.keyword, self.at, self.escape)
    }

    fn needs_arguments(&self) -> Error {
        let what = format!("{} requires at least one argument", self.keyword);
        Error::new(self.line.place(), what)
    }

    fn error(&self, offset: usize, what: impl Into<String>) -> Error {
        self.fault(offset, Fault::new(what))
    }

    /// A fault in the argument that begins at `offset` or after the white space there.
    fn fault(&self, offset: usize, fault: Fault) -> Error {
        let rest = &self.line.text[offset..];
        let blanks = rest.len() - rest.trim_start().len();
        fault.at(self.line.place_of(offset + blanks))
    }
}

/// Tells of mistakes before anything is built, as far as variables do not hide them.
fn check_mounts(mounts: &[(String, Place)]) -> Result<()> {
    let nothing = |_: &str| None;
    let expander = Expander::new('\\', &nothing);
    for (text, place) in mounts.iter().filter(|(text, _)| !text.contains('$')) {
        mount::parse(text, *place, &expander).map_err(|fault| fault.at(*place))?;
    }
    Ok(())
}
