//! Clients that do not rest while their server is frozen, and know what it owes them.
#![allow(dead_code, reason = "each test uses a part of this")]

pub mod ledger;
pub mod requests;
