//! Names of threads, with odd characters.

use crate::prelude::*;

pub const GOAL: &str = "names of tasks survive, odd characters included";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let names = ["a (b) c\0", "\n)R 1 2\0", "\u{e4}\u{f6}\u{fc}\0", "\0", "fifteen bytes!!\0"];
    super::in_threads(stage, move |number| {
        raw::prctl(libc::PR_SET_NAME, &[raw::at(names[number % names.len()])])?;
        Ok(())
    }, || {
        let mut name = [0_u8; 16];
        raw::prctl(libc::PR_GET_NAME, &[raw::into(&mut name)])?;
        Ok(vec![String::from_utf8_lossy(&name).into_owned()])
    })
}
