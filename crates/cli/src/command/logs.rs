//! `logs`: what a container has printed.

use std::{io::Write, thread::sleep, time::Duration};

use jiff::Timestamp;
use stasis_container::{
    Container, Error, Store,
    log::{Entry, Reader, Stream},
};

use crate::{
    args::LogsArgs,
    failure::{Failure, Result},
    time,
};

/// How often `-f` looks for more.
const PERIOD: Duration = Duration::from_millis(50);

pub fn run(store: &Store, args: &LogsArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    let printer = Printer {
        since: args.since.as_deref().map(time::point).transpose()?,
        until: args.until.as_deref().map(time::point).transpose()?,
        timestamps: args.timestamps,
    };
    let tail = tail(&args.tail)?;
    let mut reader = Reader::open(&container.log_path(), tail)?;
    loop {
        // What was written before the container ended must not be missed.
        let goes_on = args.follow && is_up(&container)?;
        if reader.is_none() {
            reader = Reader::open(&container.log_path(), None)?;
        }
        if let Some(reader) = &mut reader {
            while let Some(entry) = reader.next_entry()? {
                printer.print(&entry)?;
            }
        }
        if !goes_on {
            return Ok(0);
        }
        sleep(PERIOD);
    }
}

fn is_up(container: &Container) -> Result<bool> {
    match container.state() {
        Ok(state) => Ok(state.status.is_up()),
        Err(Error::NoSuchContainer(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn tail(text: &str) -> Result<Option<usize>> {
    match text {
        "all" | "-1" => Ok(None),
        number => number
            .parse()
            .map(Some)
            .map_err(|_| Failure::new(format!("{text:?} is not a number of lines"))),
    }
}

struct Printer {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    timestamps: bool,
}

impl Printer {
    fn print(&self, entry: &Entry) -> std::io::Result<()> {
        let is_too_old = self.since.is_some_and(|since| entry.time < since);
        let is_too_young = self.until.is_some_and(|until| entry.time > until);
        if is_too_old || is_too_young {
            return Ok(());
        }
        let time = if self.timestamps { format!("{:.9} ", entry.time) } else { String::new() };
        match entry.stream {
            Stream::Stdout => {
                let mut out = std::io::stdout().lock();
                write!(out, "{time}{}", entry.log)?;
                out.flush()
            }
            Stream::Stderr => write!(std::io::stderr().lock(), "{time}{}", entry.log),
        }
    }
}
