//! Printing, which must not end in a panic when nobody reads.

use std::{fmt::Arguments, io::Write};

/// What a shell shows for a program that SIGPIPE killed.
pub const BROKEN_PIPE: i32 = 128 + 13;

/// As `println!`, but ends the program quietly if standard output is a closed pipe.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::say(format_args!($($argument)*)) };
}

pub fn say(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(BROKEN_PIPE);
    }
}
