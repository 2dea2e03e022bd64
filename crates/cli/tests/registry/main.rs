//! Registries: login, pull and push, against Debian's `docker-registry` on this machine.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // a test that cannot go on says so

#[path = "../container_support/mod.rs"]
mod container_support;
#[path = "../registry_support/mod.rs"]
mod registry_support;

mod faults;
mod flow;
mod login;
mod neighbours;
mod pull;
mod push;
mod user;
