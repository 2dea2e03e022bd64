//! What tests of `stasis process` share: playing a program, driving the binary, comparing trees.
#![allow(dead_code, reason = "each test uses a part of this")]

pub mod command;
pub mod foreign;
pub mod play;
pub mod tree;
