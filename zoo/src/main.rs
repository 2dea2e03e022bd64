//! The zoo: small programs, one per kernel behaviour, that are frozen in tests.
//!
//! `zoo list` prints each program with its kind and goal, `zoo NAME` runs one. A program sets
//! something up, says ready, waits, and then verifies by itself that everything is as it was; see
//! [`stage`] for how it talks to the test that runs it.
#![deny(unsafe_code)]

mod calls;
mod events;
mod files;
mod identity;
mod ipc;
mod memory;
mod pipes;
mod program;
#[allow(unsafe_code)]
mod raw;
mod refused;
mod registers;
mod sockets;
mod stage;
mod tasks;
mod timers;
mod work;

use std::process::ExitCode;

use program::{Kind, Program};

/// What nearly every program needs.
mod prelude {
    pub use std::time::Duration;

    pub use anyhow::{Context, bail, ensure};

    pub(crate) use crate::raw;
    pub use crate::{
        program::{Kind, Verdict},
        stage::Stage,
    };

    pub const MS: Duration = Duration::from_millis(1);
}

fn programs() -> impl Iterator<Item = &'static Program> {
    let groups = [
        calls::PROGRAMS,
        events::PROGRAMS,
        files::PROGRAMS,
        identity::PROGRAMS,
        ipc::PROGRAMS,
        memory::PROGRAMS,
        pipes::PROGRAMS,
        refused::PROGRAMS,
        registers::PROGRAMS,
        sockets::PROGRAMS,
        tasks::PROGRAMS,
        timers::PROGRAMS,
    ];
    groups.into_iter().flatten()
}

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "list" => list(),
        "work" => work::main(),
        _ => match programs().find(|program| program.name == name) {
            Some(program) => play(program),
            None => {
                eprintln!("usage: zoo list | zoo PROGRAM | zoo work WORKLOAD");
                ExitCode::from(2)
            }
        },
    }
}

/// Prints name, kind, word of the refusal and goal, separated by tabs.
fn list() -> ExitCode {
    for program in programs() {
        let (kind, word) = match program.kind {
            Kind::Survives => ("survives", ""),
            Kind::Refused(word) => ("refused", word),
            Kind::KeptOrRefused(word) => ("kept-or-refused", word),
        };
        println!("{}\t{kind}\t{word}\t{}", program.name, program.goal);
    }
    ExitCode::SUCCESS
}

fn play(program: &Program) -> ExitCode {
    let stage = match stage::Stage::from_environment() {
        Ok(stage) => stage,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    stage::stand_alone();
    let verdict = (program.run)(&stage);
    stage.conclude(&verdict)
}
