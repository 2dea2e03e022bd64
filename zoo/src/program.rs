//! What a program of the zoo tells about itself.

use crate::stage::Stage;

/// `Ok` if everything was as it should be; otherwise what was not.
pub type Verdict = anyhow::Result<()>;

pub struct Program {
    /// Its group and its module: `files/deleted`.
    pub name: &'static str,
    /// What must be so after a restore, in one sentence.
    pub goal: &'static str,
    pub kind: Kind,
    pub run: fn(&Stage) -> Verdict,
}

/// What a checkpoint of the program must do.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Succeed; the program finds everything as it was.
    Survives,
    /// Fail with a message that holds this word; the program runs on unharmed.
    Refused(&'static str),
    /// Either of the two, but nothing in between: no loss in silence.
    KeptOrRefused(&'static str),
}

/// Declares the programs of a group: one module each, which has `GOAL`, `KIND` and `run`.
#[macro_export]
macro_rules! programs {
    ($group:literal; $($name:ident)*) => {
        $(mod $name;)*

        pub const PROGRAMS: &[$crate::program::Program] = &[$($crate::program::Program {
            name: concat!($group, "/", stringify!($name)),
            goal: $name::GOAL,
            kind: $name::KIND,
            run: $name::run,
        }),*];
    };
}
