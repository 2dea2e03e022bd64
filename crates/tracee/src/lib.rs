//! The supervisor: it seizes tasks, stops them, makes them do system calls and reads their memory.
//!
//! Whatever only a task can do for itself it does by *remote call*: a stopped thread runs a small stub
//! in a *foothold*, a few pages of ours in its memory, which executes a batch of system calls and stops
//! again. Stops are the currency: one stop costs as much as a hundred calls in a batch.
//!
//! **A patient finds its own way back.** Between two batches a task under checkpoint always stands
//! before an rt_sigreturn(2) to the frame of its original context, so that it goes on if the supervisor
//! dies. Blanks, the half-made processes of a restore, die with us instead.
//!
//! All requests come from one thread (ptrace(2)), so the types here are not `Send`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod affinity;
mod bare_call;
mod batch;
mod blank;
mod channel;
mod error;
mod foothold;
mod newborn;
mod patient;
mod pidfd;
mod procdir;
mod remote;
mod run;
mod sigframe;
mod sleepers;
mod slots;
mod stub;
mod tree;
mod way_back;

pub use affinity::every_processor;
pub use batch::{Arg, Batch, Call, Data, Outcome};
pub use blank::{Birth, Blank, BlankThread, Seed, Sleep, Slept, blank_program};
pub use channel::{Channel, MAX_FDS};
pub use error::{Error, Result};
pub use foothold::{FootholdPlan, Slot, find_gap};
pub use newborn::Newborn;
pub use patient::{Patient, PatientThread, StopKind};
pub use procdir::{FEW, ProcDir};
pub use remote::Piece;
pub use sleepers::{Sleepers, Watch};
pub use tree::{StoppedTree, Zombie};

use std::{marker::PhantomData, rc::Rc};

/// Makes a type neither `Send` nor `Sync`.
type OneThread = PhantomData<Rc<()>>;
