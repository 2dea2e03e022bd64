//! From a tree to the ordered steps of its restore, as data that can be printed and tested.
//!
//! Ancestry, sessions and process groups cannot be set: they are inherited at birth or made by the
//! process itself. So the order of births, setsid(2) and setpgid(2) is what decides; here it is decided.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod births;
mod groups;
mod host;
mod obstacles;
mod outcome;
mod spare;

use stasis_model::{NsPid, Tree};

pub use host::{CpuCheck, Host, obstacles_of_host};
pub use obstacles::obstacles;

/// One step of making the processes, before any of them is given its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `parent` bears `child`.
    Bear {
        parent: NsPid,
        child: NsPid,
        shares_descriptors: bool,
    },
    /// `elder` bears `child` as its own sibling (`CLONE_PARENT`), so that it gets the elder's session.
    BearSibling {
        elder: NsPid,
        child: NsPid,
    },
    /// setsid(2).
    LeadSession {
        pid: NsPid,
    },
    /// setpgid(2).
    JoinGroup {
        pid: NsPid,
        group: NsPid,
    },
    /// A process that is only needed on the way ends and is collected by its parent.
    EndHelper {
        pid: NsPid,
        parent: NsPid,
    },
    /// Children of helpers that end come to the nearest such process above (`PR_SET_CHILD_SUBREAPER`).
    Adopt {
        pid: NsPid,
    },
    StopAdopting {
        pid: NsPid,
    },
}

/// Whether the root's session and group are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// The root leads its session.
    Own,
    /// `--shell-job`: session and group of the root are those of the restoring process.
    Shell,
}

/// Why the processes cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    #[error("process {pid} is in session {session}, whose leader lies outside the tree")]
    ForeignSession { pid: NsPid, session: NsPid },
    /// See the text of the module on births.
    #[error(
        "process {pid} is in session {session}, of which nobody is left below its parent {parent}"
    )]
    Unreachable { pid: NsPid, session: NsPid, parent: NsPid },
    #[error("process {pid} cannot get its {what} again")]
    Differs { pid: NsPid, what: &'static str },
    #[error("the kernel would refuse the step {step}")]
    BadStep { step: String },
}

/// The steps that make all processes of a tree whose root is there already.
///
/// `is_taken` tells which pids cannot be used for helpers.
///
/// # Errors
/// [`Impossible`] if no order of steps is found that leads to the tree.
pub fn steps(
    tree: &Tree,
    job: Job,
    is_taken: &dyn Fn(NsPid) -> bool,
) -> Result<Vec<Step>, Impossible> {
    let mut spare = spare::SparePids::of(tree, is_taken);
    let (mut steps, helpers) = births::plan(tree, job, &spare)?;
    groups::plan(tree, job, &helpers, &mut spare, &mut steps);
    for helper in helpers.iter().rev() {
        steps.push(Step::EndHelper { pid: helper.pid, parent: helper.parent });
    }
    outcome::play(tree, job, steps)
}

/// A process that is only needed while the others are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Helper {
    pub pid: NsPid,
    pub parent: NsPid,
    pub session: NsPid,
}

#[cfg(test)]
mod tests;
