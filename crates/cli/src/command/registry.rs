//! The verbs that talk to registries.

use stasis_container::Home;

use crate::{
    args::registry::RegistryCommand,
    command::{login, pull, push},
    failure::Result,
};

pub fn run(home: &Home, command: RegistryCommand) -> Result<i32> {
    match command {
        RegistryCommand::Pull(args) => pull::run(home, &args),
        RegistryCommand::Push(args) => push::run(home, &args),
        RegistryCommand::Login(args) => login::login(home, &args),
        RegistryCommand::Logout(args) => login::logout(&args),
    }
}
