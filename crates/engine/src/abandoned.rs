//! TCP connections of a frozen run that is given up for another one: their peers hear of it.

use std::{os::fd::BorrowedFd, path::Path};

use stasis_model::{InetSocket, Loss, Subject};
use stasis_objects::tcp_connection;

use crate::reading;

/// Connections of a frozen run that the restored one takes the place of.
#[derive(Debug, Default)]
pub struct Abandoned(Vec<InetSocket>);

impl Abandoned {
    /// Those of a checkpoint, or what is lost if it cannot be read.
    pub fn read(images_dir: Option<&Path>) -> (Abandoned, Option<Loss>) {
        match images_dir.map(reading::read) {
            None => (Abandoned::default(), None),
            Some(Ok(tree)) => {
                let kept = tree.connections().filter(|socket| socket.connection.is_some());
                (Abandoned(kept.cloned().collect()), None)
            }
            Some(Err(error)) => {
                let reason = format!("nobody tells the peers of the run that was frozen: {error}");
                (Abandoned::default(), Some(Loss { subject: Subject::Tree, reason }))
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn sockets(&self) -> &[InetSocket] {
        &self.0
    }

    /// Tells the peers, and who of them may not have heard it.
    pub fn tell_peers(&self, namespace: BorrowedFd<'_>) -> Vec<Loss> {
        let failed = |socket: &InetSocket| {
            let error = tcp_connection::abandon(socket, namespace).err()?;
            let reason = format!("a peer may not have heard of the end of its connection: {error}");
            Some(Loss { subject: Subject::Tree, reason })
        };
        self.0.iter().filter_map(failed).collect()
    }
}
