//! The conductor: stage by stage, step by step.

use std::{
    collections::BTreeMap,
    io::Write as _,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Instant,
};

use jiff::Timestamp;
use stasis_container::inside;
use stasis_dockerfile::{
    Base, Dockerfile, Expander, Globals, Ignore, Instruction, Mount, MountKind, Origin, Place,
    PlannedStage, Run, Security, Step, parse_trigger,
};
use stasis_oci::Platform;
use stasis_store::{Adding, Image, Layer, Silent};

use crate::{
    cache::Cache,
    changes::Changes,
    command::{self, Command},
    copy::{Target, Wishes},
    digesting::Digesting,
    error::{Context, Error, Result},
    export, history,
    interrupt::Interrupt,
    mounts::{self, Mounts, Sources},
    request::{Caching, Outcome, Report, Request, Squashing, Supply},
    settings,
    stage::{Done, Stage},
    transfer::{Preparation, Prepared},
    tree::{Owners, Tree},
    workplace::Workplace,
};

/// Where a heredoc that is a program is seen by the container that executes it.
const PROGRAM: &str = "/dev/pipes/EOF";

/// What a build has made.
#[derive(Debug)]
pub struct Built {
    pub image: Image,
}

/// Follows a Dockerfile up to its target, and gives the image its names.
///
/// # Errors
/// What stood in the way, with the place in the Dockerfile. Nothing is left behind but what later
/// builds can use.
pub fn build(request: &Request, supply: &mut dyn Supply, report: &mut dyn Report) -> Result<Built> {
    let text = |error| Error::Text { file: request.dockerfile.name.clone(), error };
    let file = Dockerfile::parse(&request.dockerfile.bytes).map_err(text)?;
    let globals = Globals::new(
        request.build_args.clone(),
        &in_words_of_dockerfile(&Platform::host()),
        &in_words_of_dockerfile(&request.platform),
    );
    let plan = file.plan(request.target.as_deref(), globals).map_err(text)?;
    let adding = request.store.begin()?;
    let mut builder = Builder {
        request,
        file: &file,
        globals: &plan.globals,
        supply,
        reporting: Reporting { report, number: 0 },
        cache: Cache::new(&request.home, &request.store),
        workplace: Workplace::make(&request.home)?,
        interrupt: Interrupt::catch()?,
        adding,
        stages: BTreeMap::new(),
    };
    for planned in &plan.stages {
        let stage = builder.stage(planned)?;
        builder.stages.insert(planned.index, stage);
    }
    let target = plan.stages.last().map(|planned| planned.index).unwrap_or_default();
    let image = builder.export(target)?;
    builder.cache.tidy()?;
    builder.workplace.finish()?;
    Ok(Built { image })
}

fn in_words_of_dockerfile(platform: &Platform) -> stasis_dockerfile::Platform {
    stasis_dockerfile::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}

struct Builder<'a> {
    request: &'a Request,
    file: &'a Dockerfile,
    globals: &'a Globals,
    supply: &'a mut dyn Supply,
    reporting: Reporting<'a>,
    cache: Cache,
    workplace: Workplace,
    interrupt: Interrupt,
    adding: Adding,
    stages: BTreeMap<usize, Stage>,
}

/// Counts the steps that are told of.
struct Reporting<'a> {
    report: &'a mut dyn Report,
    number: usize,
}

impl Reporting<'_> {
    fn step<T>(
        &mut self,
        title: &str,
        act: impl FnOnce(&mut dyn Report, usize) -> Result<(T, Novelty)>,
    ) -> Result<T> {
        self.number += 1;
        let number = self.number;
        self.report.begin(number, title);
        let began = Instant::now();
        let result = act(self.report, number);
        self.report.end(
            number,
            match &result {
                Ok((_, Novelty::Cached)) => Outcome::Cached,
                Ok((_, Novelty::New)) => Outcome::Done(began.elapsed()),
                Err(_) => Outcome::Failed(began.elapsed()),
            },
        );
        result.map(|(value, _)| value)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Novelty {
    New,
    Cached,
}

/// Where a step stands in its stage.
struct Position<'a> {
    stage: usize,
    /// `builder 2/5`
    label: &'a str,
}

impl Builder<'_> {
    fn stage(&mut self, planned: &PlannedStage) -> Result<Stage> {
        let from = &planned.stage.from;
        let name = match (&from.name, self.file.stages.len()) {
            (Some(name), _) => format!("{name} "),
            (None, 1) => String::new(),
            (None, _) => format!("stage-{} ", planned.index),
        };
        let nr_steps = planned.stage.steps.len() + 1;
        let begun = self.begin_stage(planned, &format!("{name}1/{nr_steps}"));
        let (mut stage, triggers) =
            begun.map_err(|error| self.at(from.place, &from.text, error))?;
        for trigger in triggers {
            let step = parse_trigger(&trigger, from.place).map_err(|error| Error::Text {
                file: self.request.dockerfile.name.clone(),
                error,
            })?;
            let label = format!("{name}1/{nr_steps} ONBUILD");
            self.step(&mut stage, &step, &Position { stage: planned.index, label: &label })?;
        }
        for (index, step) in planned.stage.steps.iter().enumerate() {
            let label = format!("{name}{}/{nr_steps}", index + 2);
            self.step(&mut stage, step, &Position { stage: planned.index, label: &label })?;
        }
        Ok(stage)
    }

    /// What the stage stands on, and the instructions that it was left by that.
    fn begin_stage(&mut self, planned: &PlannedStage, label: &str) -> Result<(Stage, Vec<String>)> {
        let title = format!("[{label}] {}", planned.stage.from.text);
        let (request, globals, stages) = (self.request, self.globals, &self.stages);
        let supply = &mut *self.supply;
        self.reporting.step(&title, |_, _| {
            let stage = match &planned.base {
                Base::Scratch => (Stage::scratch(globals, &request.platform), Vec::new()),
                Base::Stage(index) => {
                    let mut stage = Stage::of_stage(finished(stages, *index)?, globals);
                    let triggers = std::mem::take(&mut stage.config.config.on_build);
                    (stage, triggers)
                }
                Base::Image { name, platform } => {
                    let platform = match platform {
                        Some(text) => text.parse()?,
                        None => request.platform.clone(),
                    };
                    let image = image(supply, name, &platform)?;
                    (Stage::of_image(&image, globals), image.config.config.on_build)
                }
            };
            Ok((stage, Novelty::New))
        })
    }

    fn step(&mut self, stage: &mut Stage, step: &Step, position: &Position) -> Result<()> {
        self.interrupt.check()?;
        let expanded = {
            let lookup = |name: &str| stage.scope.value(name);
            step.expand(&Expander::new(self.file.escape, &lookup))
        };
        let expanded = expanded
            .map_err(|error| Error::Text { file: self.request.dockerfile.name.clone(), error })?;
        self.follow(stage, step, &expanded, position)
            .map_err(|error| self.at(step.place, &step.text, error))
    }

    fn follow(
        &mut self,
        stage: &mut Stage,
        step: &Step,
        expanded: &Instruction,
        position: &Position,
    ) -> Result<()> {
        let title = format!("[{}] {}", position.label, step.text);
        match expanded {
            Instruction::Copy(copy) => {
                let tree = match &copy.from {
                    None => self.context()?,
                    Some(name) => self.origin_tree(position.stage, name, step.place)?,
                };
                let told = history::copy(copy);
                self.transfer(stage, step, &title, told, |preparation, _| {
                    preparation.copy(&copy.transfer, tree)
                })
            }
            Instruction::Add(add) => {
                let tree = self.context()?;
                let told = history::transfer("ADD", &add.transfer);
                self.transfer(stage, step, &title, told, |preparation, supply| {
                    preparation.add(add, tree, supply)
                })
            }
            Instruction::Run(run) => self.run(stage, step, run, &title, position),
            Instruction::Workdir(path) => self.workdir(stage, path, &title),
            other => {
                let mut next = stage.clone();
                let told = settings::apply(&mut next, other, &step.text)?;
                let key = stage.key_after(Digesting::of("settings").field(told.as_bytes()));
                std::mem::swap(stage, &mut next);
                self.perform(stage, &title, told, key, |_, _, _, _| Ok(None))
            }
        }
    }

    /// Does a step, unless the cache knows what it does.
    fn perform(
        &mut self,
        stage: &mut Stage,
        title: &str,
        told: String,
        key: stasis_oci::Digest,
        act: impl FnOnce(&Doing, &Stage, &mut dyn Report, usize) -> Result<Option<Layer>>,
    ) -> Result<()> {
        let doing = Doing {
            request: self.request,
            workplace: &self.workplace,
            adding: &self.adding,
            interrupt: &self.interrupt,
        };
        let cache = &self.cache;
        let done = self.reporting.step(title, |report, number| {
            let known = match doing.request.caching {
                Caching::Used => cache.find(&key),
                Caching::Renewed => None,
            };
            if let Some(done) = known {
                return Ok((done, Novelty::Cached));
            }
            let layer = act(&doing, stage, report, number)?;
            let done = Done { created: Timestamp::now(), layer };
            cache.keep(&key, stage, &done)?;
            Ok((done, Novelty::New))
        })?;
        let created = self.request.made.unwrap_or(done.created);
        stage.push(key, told, Done { created, ..done });
        Ok(())
    }

    fn transfer(
        &mut self,
        stage: &mut Stage,
        step: &Step,
        title: &str,
        told: String,
        prepare: impl FnOnce(&Preparation, &mut dyn Supply) -> Result<Prepared>,
    ) -> Result<()> {
        let changes = Changes::begin(&self.workplace, stage.lower_dirs(&self.adding)?)?;
        let root = changes.mount()?;
        let workdir = stage.workdir();
        let preparation = Preparation {
            root: &root,
            workdir: &workdir,
            place: step.place,
            workplace: &self.workplace,
        };
        let prepared = prepare(&preparation, self.supply)?;
        let mut digesting = Digesting::of("transfer").field(told.as_bytes());
        prepared.digest(&mut digesting)?;
        let key = stage.key_after(digesting);
        self.perform(stage, title, told, key, |doing, _, _, _| {
            prepared.perform(root, doing.request.dockerfile.changed, doing.workplace)?;
            changes.commit(doing.adding)
        })
    }

    fn workdir(&mut self, stage: &mut Stage, path: &str, title: &str) -> Result<()> {
        let path = stage.workdir().join(path);
        let path = Path::new("/").join(crate::select::cleaned(&path.to_string_lossy()));
        let text = path.to_string_lossy().into_owned();
        let told = history::workdir(&text);
        let key = stage.key_after(Digesting::of("workdir").field(text.as_bytes()));
        stage.config.config.working_dir = text;
        self.perform(stage, title, told, key, |doing, stage, _, _| {
            let changes = Changes::begin(doing.workplace, stage.lower_dirs(doing.adding)?)?;
            let changed = doing.request.dockerfile.changed;
            let mut target = Target::new(changes.mount()?, Wishes::default(), changed);
            target.make_dirs(&path)?;
            target.finish()?;
            changes.commit(doing.adding)
        })
    }

    fn run(
        &mut self,
        stage: &mut Stage,
        step: &Step,
        run: &Run,
        title: &str,
        position: &Position,
    ) -> Result<()> {
        if run.security == Security::Insecure {
            return Err(Error::invalid("--security=insecure is not supported")
                .hint("build without it: commands run with the rights of any container"));
        }
        let list = {
            let lookup = |name: &str| stage.scope.value(name);
            run.mounts(&Expander::new(self.file.escape, &lookup))
        };
        let list = list.map_err(|error| Error::invalid(error.what))?;
        let lower = self.lower_of_mounts(&list, position.stage, step.place)?;
        let script = run.script();
        let args = stage.scope.run_args();
        let told = history::run(&script, &settings::shell(&stage.config.config), &args);
        let mut digesting = Digesting::of("run").field(told.as_bytes());
        digesting.add(format!("{:?}", run.network).as_bytes());
        for (mount, (_, content)) in list.iter().zip(&lower) {
            digesting.add(format!("{:?}", mount.kind).as_bytes());
            digesting.add(content.as_bytes());
        }
        let key = stage.key_after(digesting);
        let cache = self.cache.clone();
        let network = command::network(run.network, self.request.network);
        self.perform(stage, title, told, key, |doing, stage, report, number| {
            let workdir = stage.workdir();
            let sources = Sources {
                workplace: doing.workplace,
                cache: &cache,
                secrets: &doing.request.secrets,
                workdir: &workdir,
            };
            let mut mounts = Mounts::default();
            for (mount, (lower, _)) in list.iter().zip(&lower) {
                mounts.add(mount, lower, &sources)?;
            }
            doing.show_files(&script, &mut mounts)?;
            let args = command::arguments(&script, stage, Path::new(PROGRAM));
            let command = Command { stage, args, network, mounts: &mounts };
            doing.execute(&command, &mut |stream, bytes| report.output(number, stream, bytes))
        })
    }

    /// What the mounts of a `RUN` come from: directories, and what tells one content from another.
    fn lower_of_mounts(
        &mut self,
        list: &[Mount],
        stage: usize,
        place: Place,
    ) -> Result<Vec<(Vec<PathBuf>, String)>> {
        list.iter()
            .map(|mount| match &mount.kind {
                MountKind::Bind { from: None, source, .. } => self.context_as_lower(source),
                MountKind::Bind { from: Some(name), .. } => {
                    self.origin_as_lower(stage, name, place)
                }
                MountKind::Cache(cache) => match &cache.from {
                    Some(name) => self.origin_as_lower(stage, name, place),
                    None => Ok((Vec::new(), String::new())),
                },
                MountKind::Tmpfs { .. } | MountKind::Secret(_) | MountKind::Ssh { .. } => {
                    Ok((Vec::new(), String::new()))
                }
            })
            .collect()
    }

    /// The context as a directory in which only that lies which takes part.
    fn context_as_lower(&mut self, source: &str) -> Result<(Vec<PathBuf>, String)> {
        let tree = self.context()?;
        let dir = self.workplace.make_dir("context")?;
        let mut target =
            Target::new(inside::open_root(&dir)?, Wishes::default(), Timestamp::UNIX_EPOCH);
        let mut digesting = Digesting::of("context");
        for entry in crate::select::sources(&tree, source)? {
            let below = if entry.is_dir() { tree.below(&entry.path)? } else { Vec::new() };
            for entry in [entry].into_iter().chain(below) {
                digesting.add(entry.path.as_os_str().as_encoded_bytes());
                tree.digest(&entry, &mut digesting)?;
                if entry.path != Path::new("") {
                    target.put(&tree, &entry, &entry.path)?;
                }
            }
        }
        target.finish()?;
        Ok((vec![dir], digesting.finish().to_string()))
    }

    fn origin_as_lower(
        &mut self,
        stage: usize,
        name: &str,
        place: Place,
    ) -> Result<(Vec<PathBuf>, String)> {
        let layers = self.origin(stage, name, place)?;
        let content: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let lower = self.adding.store().lower_dirs_of(&layers, &mut Silent)?;
        Ok((lower, content.join(" ")))
    }

    fn context(&self) -> Result<Tree> {
        let context = &self.request.context;
        Ok(Tree::new(inside::open_root(&context.dir)?, context.ignore.clone(), Owners::Root))
    }

    fn origin_tree(&mut self, stage: usize, name: &str, place: Place) -> Result<Tree> {
        let layers = self.origin(stage, name, place)?;
        let lower = self.adding.store().lower_dirs_of(&layers, &mut Silent)?;
        let root: OwnedFd = Changes::begin(&self.workplace, lower)?.mount()?;
        Ok(Tree::new(root, Ignore::default(), Owners::Kept))
    }

    /// The layers of another stage or image.
    fn origin(&mut self, stage: usize, name: &str, place: Place) -> Result<Vec<Layer>> {
        let origin =
            self.file.origin(stage, name, place).map_err(|error| Error::invalid(error.what))?;
        match origin {
            Origin::Stage(index) => Ok(finished(&self.stages, index)?.layers.clone()),
            Origin::Image(name) => Ok(image(self.supply, &name, &self.request.platform)?.layers()),
        }
    }

    fn export(&mut self, target: usize) -> Result<Image> {
        let mut stage = finished(&self.stages, target)?.clone();
        settings::label_all(&mut stage.config.config.labels, &self.request.labels);
        let (request, adding, workplace) = (self.request, &self.adding, &self.workplace);
        self.reporting.step("exporting to image", |report, number| {
            if request.squashing == Squashing::OneLayer {
                export::squash(&mut stage, adding, workplace)?;
            }
            let image = export::image(&stage, adding, &request.names)?;
            let mut say = |line: String| {
                report.output(number, stasis_container::log::Stream::Stderr, line.as_bytes());
            };
            say(format!("writing image {}\n", image.id));
            request.names.iter().for_each(|name| say(format!("naming to {name}\n")));
            Ok((image, Novelty::New))
        })
    }

    fn at(&self, place: Place, text: &str, error: Error) -> Error {
        match error {
            Error::Step { .. } | Error::Text { .. } | Error::Interrupted => error,
            source => Error::Step {
                file: self.request.dockerfile.name.clone(),
                place,
                text: text.to_owned(),
                source: Box::new(source),
            },
        }
    }
}

/// What a step needs while it is done.
struct Doing<'a> {
    request: &'a Request,
    workplace: &'a Workplace,
    adding: &'a Adding,
    interrupt: &'a Interrupt,
}

impl Doing<'_> {
    /// Shows the command the program that it executes, and the hosts that the caller wants.
    fn show_files(&self, script: &stasis_dockerfile::Script, mounts: &mut Mounts) -> Result<()> {
        if let stasis_dockerfile::Script::Program(text) = script {
            let path = self.workplace.make_dir("program")?.join("EOF");
            mounts::write_private(&path, text.as_bytes())?;
            rustix::fs::chmod(&path, 0o755.into()).context("set the mode of", path.display())?;
            mounts.show_file(path, Path::new(PROGRAM))?;
        }
        if !self.request.extra_hosts.is_empty() {
            let path = self.workplace.make_dir("hosts")?.join("hosts");
            let mut text = Vec::from("127.0.0.1\tlocalhost\n::1\tlocalhost\n");
            for (name, address) in &self.request.extra_hosts {
                writeln!(text, "{address}\t{name}").context("write", "the hosts")?;
            }
            mounts::write_private(&path, &text)?;
            rustix::fs::chmod(&path, 0o644.into()).context("set the mode of", path.display())?;
            mounts.show_file(path, Path::new("/etc/hosts"))?;
        }
        Ok(())
    }

    fn execute(
        &self,
        command: &Command,
        output: &mut dyn FnMut(stasis_container::log::Stream, &[u8]),
    ) -> Result<Option<Layer>> {
        let lower = command.stage.lower_dirs(self.adding)?;
        let changes = Changes::begin(self.workplace, lower)?;
        let points = changes.mount_points(|root| command.mounts.make_points(root))?;
        let root = changes.mount_with(&points)?;
        let containers = self.workplace.containers();
        let ended = command.execute(root.path(), &containers, self.interrupt.fd(), output);
        // Looked at before the command's files go.
        if ended.is_err() && self.workplace.is_disk_full() {
            return Err(Error::DiskFull(self.workplace.dir().display().to_string()));
        }
        ended?;
        drop(root);
        changes.commit(self.adding)
    }
}

fn finished(stages: &BTreeMap<usize, Stage>, index: usize) -> Result<&Stage> {
    stages.get(&index).ok_or_else(|| Error::invalid(format!("stage {index} was not built")))
}

fn image(supply: &mut dyn Supply, name: &str, platform: &Platform) -> Result<Image> {
    supply.image(name, platform).map_err(Error::Outside)
}
