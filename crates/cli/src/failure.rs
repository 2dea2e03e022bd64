//! What the user reads when something fails, and the exit code.

use std::{error::Error, fmt};

use crate::{OWN_FAILURE, output};

/// What a shell shows for a program that SIGINT killed.
const INTERRUPTED: i32 = 128 + 2;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    pub code: i32,
    /// Empty if everything was said already.
    pub message: String,
    pub cause: Option<String>,
    pub hint: Option<String>,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into(), cause: None, hint: None }
    }

    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The exit code of commands that start a program: other codes are the program's own.
    pub fn before_any_program(self) -> Failure {
        let code = if self.code == 1 { OWN_FAILURE } else { self.code };
        Failure { code, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(cause) = &self.cause {
            write!(f, "\ncause: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint:  {hint}")?;
        }
        Ok(())
    }
}

impl From<stasis_container::Error> for Failure {
    fn from(error: stasis_container::Error) -> Failure {
        use stasis_container::Error as E;
        let hint = match &error {
            E::NoSuchCheckpoint(_) => Some("stasis checkpoint ls lists all checkpoints"),
            E::AmbiguousCheckpoint(..) => Some("give CONTAINER/NAME, or digits of the id"),
            E::NoSuchContainer(_) => Some("stasis ps -a lists all containers"),
            E::NoSuchVolume(_) => Some("stasis volume ls lists all volumes"),
            E::VolumeInUse { .. } => Some("remove the containers first: stasis rm CONTAINER"),
            E::Ambiguous(..) => Some("give more digits of the id, or the name"),
            E::Network(error) => network_hint(error),
            _ => None,
        };
        let code = if let E::NotStarted { code, .. } = &error { *code } else { 1 };
        let (message, cause) = split(&error);
        Failure { code, message, cause, hint: hint.map(Into::into) }
    }
}

impl From<stasis_store::Error> for Failure {
    fn from(error: stasis_store::Error) -> Failure {
        use stasis_store::Error as E;
        let hint = match &error {
            E::NoSuchImage(_) => Some("stasis images lists all images"),
            E::Ambiguous(..) => Some("give more digits of the id, or a name"),
            _ => None,
        };
        let (message, cause) = split(&error);
        Failure { code: 1, message, cause, hint: hint.map(Into::into) }
    }
}

impl From<stasis_build::Error> for Failure {
    fn from(error: stasis_build::Error) -> Failure {
        let code = if error.is_interrupt() { INTERRUPTED } else { 1 };
        let hint = error.advice();
        let (message, cause) = split(&error);
        Failure { code, message, cause, hint }
    }
}

impl From<stasis_oci::Error> for Failure {
    fn from(error: stasis_oci::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<stasis_registry::Error> for Failure {
    fn from(error: stasis_registry::Error) -> Failure {
        let (message, cause) = split(&error);
        Failure { cause, ..Failure::new(message) }
    }
}

impl From<stasis_network::Error> for Failure {
    fn from(error: stasis_network::Error) -> Failure {
        stasis_container::Error::from(error).into()
    }
}

fn network_hint(error: &stasis_network::Error) -> Option<&'static str> {
    match error {
        stasis_network::Error::NoSuchNetwork(_) => Some("stasis network ls lists all networks"),
        stasis_network::Error::Exhausted(_) => {
            Some("remove containers, or make a network with a larger --subnet")
        }
        stasis_network::Error::Refused { .. } => {
            Some("bridges need CAP_NET_ADMIN and nftables; --network host and none do without")
        }
        _ => None,
    }
}

impl From<stasis_engine::Error> for Failure {
    fn from(error: stasis_engine::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            // Nobody reads what we print, as in `stasis logs c | head`: nothing is wrong.
            std::io::ErrorKind::BrokenPipe => {
                Failure { code: output::BROKEN_PIPE, ..Failure::new("") }
            }
            _ => Failure::new(error.to_string()),
        }
    }
}

/// Takes the text of the source off the end of a message.
fn split(error: &dyn Error) -> (String, Option<String>) {
    let message = error.to_string();
    let Some(cause) = error.source().map(ToString::to_string) else { return (message, None) };
    match message.strip_suffix(&format!(": {cause}")) {
        Some(head) => (head.to_owned(), Some(cause)),
        None => (message, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_gets_a_line_of_its_own() {
        let source = std::io::Error::from_raw_os_error(2);
        let error = stasis_container::Error::Refused { action: "open", object: "x".into(), source };
        let text = Failure::from(error).to_string();
        assert_eq!(text, "error: cannot open x\ncause: No such file or directory (os error 2)");
    }
}
