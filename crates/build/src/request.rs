//! What a build is asked for, and what it needs from outside.

use std::{collections::BTreeMap, error::Error, io::Write, path::PathBuf, time::Duration};

use jiff::Timestamp;
use stasis_container::{Home, log::Stream};
use stasis_dockerfile::Ignore;
use stasis_oci::{Platform, Reference};
use stasis_store::{Image, ImageStore};

/// Everything that the caller decides.
#[derive(Debug)]
pub struct Request {
    pub home: Home,
    pub store: ImageStore,
    pub dockerfile: Text,
    pub context: Context,
    pub names: Vec<Reference>,
    pub build_args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub target: Option<String>,
    pub platform: Platform,
    pub caching: Caching,
    pub squashing: Squashing,
    pub network: Network,
    /// Lines for `/etc/hosts` of the commands: name and address.
    pub extra_hosts: Vec<(String, String)>,
    pub secrets: BTreeMap<String, SecretSource>,
    /// When everything was made, instead of now (`SOURCE_DATE_EPOCH`).
    pub made: Option<Timestamp>,
}

/// A Dockerfile and how it is called in messages.
#[derive(Debug)]
pub struct Text {
    pub name: String,
    pub bytes: Vec<u8>,
    /// When it was last changed. Files and directories that come from its text alone get this time, so
    /// that the same text makes the same layers.
    pub changed: Timestamp,
}

/// Where files come from.
#[derive(Debug)]
pub struct Context {
    pub dir: PathBuf,
    pub ignore: Ignore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Steps that were done before are not done again.
    Used,
    /// All steps are done; what they make can be used later.
    Renewed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squashing {
    /// One layer for each step that changes files.
    Layers,
    /// One layer for all of them.
    OneLayer,
}

/// What commands reach, unless they say it themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Host,
    None,
}

/// Where a secret is read when a command wants it.
#[derive(Clone, Debug)]
pub enum SecretSource {
    File(PathBuf),
    Variable(String),
}

pub type Outside<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What a build needs from outside.
pub trait Supply {
    /// An image that a `FROM` or `--from` names, by its name or its id; the caller decides whether it
    /// is pulled.
    ///
    /// # Errors
    /// It cannot be had.
    fn image(&mut self, name: &str, platform: &Platform) -> Outside<Image>;

    /// Writes what stands at a URL; gives the time of its last change, if it is told.
    ///
    /// # Errors
    /// It cannot be had.
    fn download(&mut self, url: &str, into: &mut dyn Write) -> Outside<Option<Timestamp>>;
}

/// Is told how a build goes on. Steps are numbered from 1.
pub trait Report {
    fn begin(&mut self, step: usize, title: &str);
    fn output(&mut self, step: usize, stream: Stream, bytes: &[u8]);
    fn end(&mut self, step: usize, outcome: Outcome);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done(Duration),
    Cached,
    Failed(Duration),
}
