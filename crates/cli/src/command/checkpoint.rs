//! `checkpoint` and `start --checkpoint`.

use stasis_container::{Container, Store, attach::Session};

use crate::{
    args::{CheckpointCommand, StartArgs},
    failure::{Failure, Result},
};

pub fn run(_store: &Store, _command: CheckpointCommand) -> Result<i32> {
    Err(Failure::new("checkpoints of containers are not supported yet"))
}

pub fn start(_container: &Container, _name: &str, _args: &StartArgs) -> Result<()> {
    Err(Failure::new("checkpoints of containers are not supported yet"))
}

pub fn start_attached(_container: &Container, _name: &str, _args: &StartArgs) -> Result<Session> {
    Err(Failure::new("checkpoints of containers are not supported yet"))
}
