//! Kernel objects: each has one file here, with `freeze` and `thaw` side by side.
//!
//! Freezing reads a stopped task (and what `/proc` tells of it) into the model, thawing morphs a blank.
//! Checkpoint files are never seen here: page and file contents pass through the traits of
//! [`content`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address_space;
pub mod content;
pub mod credentials;
pub mod descriptor;
pub mod epoll;
pub mod error;
pub mod eventfd;
pub mod fifo;
pub mod file_lock;
pub mod gathering;
pub mod ghost;
pub mod inet_socket;
pub mod inheritance;
pub mod inotify;
pub mod interrupted_call;
pub mod itimer;
pub mod limit;
pub mod link;
pub mod memfd;
pub mod pages;
pub mod path_file;
pub mod pipe;
pub mod posix_queue;
pub mod posix_timer;
pub mod process;
pub mod protection_key;
mod ranges;
pub mod registers;
mod rseq;
pub mod scheduling;
pub mod seccomp;
pub mod segment;
pub mod sharing;
pub mod signal;
pub mod signalfd;
pub mod socket_options;
pub mod system_v;
pub mod tcp_connection;
pub mod terminal;
pub mod thawing;
pub mod thread;
pub mod timerfd;
pub mod unix_socket;
pub mod userfaultfd;
pub mod vdso;

pub use error::{Error, Result};
pub use gathering::Gathering;
pub use thawing::Thawing;
