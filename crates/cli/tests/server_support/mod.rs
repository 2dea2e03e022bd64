//! Servers that are frozen, each with its client.
#![allow(dead_code, reason = "each test uses a part of this")]

pub mod http;
pub mod java;
pub mod memcached;
pub mod nginx;
pub mod plain;
pub mod postgres;
pub mod redis;
pub mod service;
pub mod terminal;
