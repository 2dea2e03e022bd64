//! What a monitor and the command that starts it say to each other.

use serde::{Deserialize, Serialize};
use stasis_network::{Endpoint, Note};

use crate::checkpoint::Origin;

/// What a monitor is started for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// The user's program, from its beginning.
    Program,
    /// A blank that the engine fills with this checkpoint, which was taken in these places of networks.
    Restore { checkpoint: Origin, endpoints: Vec<Endpoint> },
}

/// From the command to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Once, first of all. The container's command lock comes along.
    Start(Mode),
    /// Init may execute its program.
    Release,
    /// The connections of a restored tree are in place: the network may come to them.
    Unlock,
    /// The restored tree runs and is the container from now on.
    Commit,
}

/// From the monitor to the command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// Init waits to be released.
    Created {
        pid: i32,
        notes: Vec<Note>,
    },
    /// The network is there.
    Unlocked,
    /// The program was executed, or the commit is written down.
    Started,
    Failed {
        code: i32,
        message: String,
    },
}
