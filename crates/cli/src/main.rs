//! The command line: arguments, output, hints, exit codes.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[macro_use]
mod output;
mod args;
mod basis;
mod changes;
mod command;
mod confirm;
mod create;
mod failure;
mod format;
mod health;
mod internal;
mod listing;
mod mounts;
mod parse;
mod progress;
mod prompt;
mod registry;
mod size;
mod table;
mod time;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{Parser, error::ErrorKind};

use args::Cli;
use failure::Failure;

/// Docker's exit code for what went wrong before any program ran.
pub const OWN_FAILURE: i32 = 125;

fn main() -> ExitCode {
    let arguments = arguments();
    let code = internal::run(&arguments)
        .map_or_else(|| user(arguments), |done| done.unwrap_or_else(|failure| report(&failure)));
    ExitCode::from(u8::try_from(code.rem_euclid(256)).unwrap_or(1))
}

/// Does what a user has typed.
fn user(arguments: Vec<OsString>) -> i32 {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => command::run(cli).unwrap_or_else(|failure| report(&failure)),
        Err(error) => usage(&error),
    }
}

/// Started under the name `criu`, the verbs of `process` stand at the top.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().and_then(|name| Path::new(name).file_name());
    if name.is_some_and(|name| name == "criu") {
        arguments.insert(1, "process".into());
    }
    arguments
}

fn report(failure: &Failure) -> i32 {
    if !failure.message.is_empty() {
        eprintln!("{failure}");
    }
    failure.code
}

fn usage(error: &clap::Error) -> i32 {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ => OWN_FAILURE,
    }
}
