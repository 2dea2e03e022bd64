//! Dockerfiles: typed instructions with their places, variables, stages; and `.dockerignore`.
//!
//! Entry points: [`Dockerfile::parse`] reads a file, [`Dockerfile::plan`] finds the stages that a target
//! needs, [`Instruction::expand`] puts values in the place of variables, [`Scope`] knows the values,
//! [`Ignore`] tells which files of a context do not take part.
//!
//! The grammar is that of BuildKit's front end (Dockerfile reference, version 1). The published
//! parsers were looked at and not taken: they know a heredoc only as the first word of a `RUN`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod directive;
mod duration;
mod error;
mod expand;
mod file;
mod flags;
mod form;
mod glob;
mod heredoc;
mod ignore;
mod instruction;
mod line;
mod mount;
mod pairs;
mod parse;
mod plan;
mod scope;
mod words;

pub use error::{Error, Place, Result};
pub use expand::Expander;
pub use file::{Dockerfile, Stage};
pub use glob::Glob;
pub use heredoc::{Heredoc, HeredocVariables, LeadingTabs};
pub use ignore::{Ignore, Verdict};
pub use instruction::{
    Add, ArgDeclaration, Command, Copy, From, Healthcheck, Instruction, Layout, Pair, Probe, Run,
    RunNetwork, Script, Security, Source, Step, Transfer, Unpacking,
};
pub use mount::{Access, Cache, CacheSharing, Mount, MountKind, Need, Secret};
pub use parse::parse_trigger;
pub use plan::{Base, Origin, Plan, PlannedStage};
pub use scope::{Globals, Platform, Scope};

/// A Dockerfile above this size is refused.
pub const MAX_BYTES: usize = 4 << 20;
