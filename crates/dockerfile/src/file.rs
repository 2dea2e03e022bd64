//! A whole Dockerfile: arguments before the first stage, then the stages.

use crate::{
    MAX_BYTES, directive,
    error::{Error, Place, Result},
    instruction::{ArgDeclaration, From, Instruction, Step},
    line::Lines,
    parse::{self, Statement},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The character that continues lines and takes the meaning of others away.
    pub escape: char,
    pub(crate) globals: Vec<(Place, ArgDeclaration)>,
    pub stages: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    pub from: From,
    pub steps: Vec<Step>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its place.
    pub fn parse(bytes: &[u8]) -> Result<Dockerfile> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::new(Place::START, "the Dockerfile is larger than 4 MiB"));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let escape = directive::escape(text)?;
        let mut file = Dockerfile { escape, globals: Vec::new(), stages: Vec::new() };
        let mut lines = Lines::new(text, escape);
        while let Some(line) = lines.next()? {
            file.push(parse::statement(&line, escape)?)?;
        }
        if file.stages.is_empty() {
            return Err(Error::new(Place::START, "the Dockerfile has no stage")
                .hint("expected at least one FROM"));
        }
        Ok(file)
    }

    fn push(&mut self, statement: Statement) -> Result<()> {
        match (statement, self.stages.last_mut()) {
            (Statement::From(from), _) => self.stages.push(Stage { from, steps: Vec::new() }),
            (Statement::Step(step), Some(stage)) => stage.steps.push(step),
            (Statement::Step(step), None) => match step.instruction {
                Instruction::Arg(list) => {
                    self.globals.extend(list.into_iter().map(|arg| (step.place, arg)));
                }
                _ => {
                    return Err(step
                        .error("no build stage in current context")
                        .hint("expected FROM: only ARG may stand before it"));
                }
            },
        }
        Ok(())
    }
}

fn not_utf8(bytes: &[u8], valid: usize) -> Error {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::new(Place { line, column }, "the Dockerfile is not UTF-8 text here")
}

#[cfg(test)]
mod tests;
