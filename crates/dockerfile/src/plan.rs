//! Which stages a target needs, and what each of them stands on.

use std::collections::BTreeSet;

use crate::{
    error::{Error, Place, Result},
    expand::Expander,
    file::{Dockerfile, Stage},
    instruction::{self, Instruction, Step},
    scope::Globals,
};

/// The stages to build, each after those it needs.
#[derive(Debug)]
pub struct Plan<'a> {
    pub stages: Vec<PlannedStage<'a>>,
    /// The values of the arguments before the first stage.
    pub globals: Globals,
}

#[derive(Debug)]
pub struct PlannedStage<'a> {
    pub index: usize,
    pub stage: &'a Stage,
    pub base: Base,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    Scratch,
    /// An earlier stage, by its number.
    Stage(usize),
    Image {
        name: String,
        platform: Option<String>,
    },
}

/// What `--from` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Stage(usize),
    Image(String),
}

impl Dockerfile {
    /// Finds the stages that `target` needs; the last one is the target if nothing is given.
    ///
    /// # Errors
    /// A target, base or origin that is not there.
    pub fn plan(&self, target: Option<&str>, mut globals: Globals) -> Result<Plan<'_>> {
        self.declare_globals(&mut globals)?;
        let bases = self.bases(&globals)?;
        let mut needed = BTreeSet::new();
        let mut open = vec![self.target(target)?];
        while let Some(index) = open.pop() {
            if needed.insert(index) {
                open.extend(self.needs(index, &bases[index])?);
            }
        }
        let stages = needed
            .into_iter()
            .map(|index| PlannedStage {
                index,
                stage: &self.stages[index],
                base: bases[index].clone(),
            })
            .collect();
        Ok(Plan { stages, globals })
    }

    /// What `--from=name` in the stage `index` means: an earlier stage by name or number, or an image.
    ///
    /// # Errors
    /// The stage itself, a later one, or a number that no stage has.
    pub fn origin(&self, index: usize, name: &str, place: Place) -> Result<Origin> {
        if let Some(stage) = self.earlier_stage(index, name) {
            return Ok(Origin::Stage(stage));
        }
        let is_number = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        let later = self.stages[index..].iter().any(|stage| is_named(stage, name));
        match (is_number, later) {
            (true, _) => {
                Err(Error::new(place, format!("there is no stage {name} before this one"))
                    .hint("stages are counted from 0"))
            }
            (_, true) => {
                Err(Error::new(place, format!("the stage {name:?} is not built yet here"))
                    .hint("move it above this stage"))
            }
            _ => Ok(Origin::Image(name.to_owned())),
        }
    }

    fn earlier_stage(&self, index: usize, name: &str) -> Option<usize> {
        let number = name.parse().ok().filter(|number| *number < index);
        number.or_else(|| self.stages[..index].iter().rposition(|stage| is_named(stage, name)))
    }

    fn declare_globals(&self, globals: &mut Globals) -> Result<()> {
        for (place, arg) in &self.globals {
            let arg = {
                let lookup = |name: &str| globals.value(name);
                instruction::declaration(arg, &Expander::new(self.escape, &lookup))
            };
            globals.declare(&arg.map_err(|fault| fault.at(*place))?);
        }
        Ok(())
    }

    fn bases(&self, globals: &Globals) -> Result<Vec<Base>> {
        let lookup = |name: &str| globals.value(name);
        let expander = Expander::new(self.escape, &lookup);
        (0..self.stages.len()).map(|index| self.base(index, &expander)).collect()
    }

    fn base(&self, index: usize, expander: &Expander) -> Result<Base> {
        let from = &self.stages[index].from;
        let word = |text: &str| expander.word(text).map_err(|fault| fault.at(from.place));
        let name = word(&from.base)?;
        if name.is_empty() {
            let what = format!("the base name {:?} is empty after its variables", from.base);
            return Err(Error::new(from.place, what).hint(
                "give the variable a value by ARG before the first FROM, or by --build-arg",
            ));
        }
        let by_name = self.stages[..index].iter().rposition(|stage| is_named(stage, &name));
        Ok(match by_name {
            _ if name == "scratch" => Base::Scratch,
            Some(stage) => Base::Stage(stage),
            None => {
                let platform = from.platform.as_deref().map(word).transpose()?;
                Base::Image { name, platform: platform.filter(|text| !text.is_empty()) }
            }
        })
    }

    fn target(&self, target: Option<&str>) -> Result<usize> {
        let Some(target) = target else { return Ok(self.stages.len() - 1) };
        self.earlier_stage(self.stages.len(), target).ok_or_else(|| {
            let names: Vec<&str> =
                self.stages.iter().filter_map(|stage| stage.from.name.as_deref()).collect();
            let error =
                Error::new(Place::START, format!("target stage {target:?} could not be found"));
            match names.is_empty() {
                true => error.hint("no stage has a name; they are also counted from 0"),
                false => error.hint(format!("there are {}", names.join(", "))),
            }
        })
    }

    /// The earlier stages that a stage needs.
    fn needs(&self, index: usize, base: &Base) -> Result<Vec<usize>> {
        let mut needs = Vec::new();
        needs.extend(match base {
            Base::Stage(stage) => Some(*stage),
            Base::Scratch | Base::Image { .. } => None,
        });
        for step in &self.stages[index].steps {
            for (name, place) in origins(step) {
                if let Origin::Stage(stage) = self.origin(index, name, place)? {
                    needs.push(stage);
                }
            }
        }
        Ok(needs)
    }
}

fn is_named(stage: &Stage, name: &str) -> bool {
    stage.from.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
}

fn origins(step: &Step) -> Vec<(&str, Place)> {
    match &step.instruction {
        Instruction::Copy(copy) => {
            copy.from.as_deref().map(|name| (name, step.place)).into_iter().collect()
        }
        Instruction::Run(run) => run.mount_origins().collect(),
        _ => Vec::new(),
    }
}
