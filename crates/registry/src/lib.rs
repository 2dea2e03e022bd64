//! Images from and to registries: the distribution protocol, and who we are to a registry.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod auth_file;
mod authorization;
mod blobs;
mod body;
mod certificates;
mod challenge;
mod compression;
mod credential_helper;
mod credentials;
mod download;
mod error;
mod explanation;
mod failure;
mod file;
mod keyring;
mod login;
mod progress;
mod pull;
mod push;
mod retry;
mod runtime;
mod server;
mod session;
mod transport;
mod upload;

pub use compression::Compression;
pub use credential_helper::Helper;
pub use credentials::Credentials;
pub use error::{Error, Result};
pub use file::download;
pub use keyring::{Found, Keyring, Place};
pub use login::{login, login_again};
pub use progress::{LayerProgress, Progress, Silent, Step};
pub use pull::{Freshness, PullOptions, PullPolicy, Pulled, obtain, pull, tags};
pub use push::{PushOptions, Pushed, push};
pub use server::{Scope, Server};
pub use session::Access;
pub use transport::TlsCheck;
