//! Who keeps the network away from TCP connections while the engine works on them.

use std::os::fd::{BorrowedFd, OwnedFd};

use stasis_engine::{LockError, LockGuard, Locked, Locking, NamespaceOf, NetworkLock};
use stasis_network::{ConnectionLock, Segments};

use crate::{
    monitor::protocol::{Notice, Order},
    wire,
};

/// A lock for trees of processes: the packet filter drops the segments until the guard goes, and while a
/// tree is on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketFilter;

impl NetworkLock for PacketFilter {
    fn lock(&self, locking: &Locking<'_>) -> Result<Box<dyn LockGuard>, LockError> {
        let segments = segments(locking);
        let lock = ConnectionLock::new(locking.namespace, segments, locking.passing_mark)?;
        Ok(Box::new(Held(lock)))
    }

    fn stay(&self, locking: &Locking<'_>, name: &str) -> Result<(), LockError> {
        let (namespace, segments) = (locking.namespace, segments(locking));
        Ok(stasis_network::lock_lastingly(namespace, name, segments, locking.passing_mark)?)
    }

    fn lift(&self, namespace: BorrowedFd<'_>, name: &str) -> Result<(), LockError> {
        Ok(stasis_network::lift_lock(namespace, name)?)
    }
}

/// A lock for containers. Most have a network of their own, which is gone with them; and nothing may
/// outlive one that has the host's.
pub(crate) struct Momentary;

impl NetworkLock for Momentary {
    fn lock(&self, locking: &Locking<'_>) -> Result<Box<dyn LockGuard>, LockError> {
        PacketFilter.lock(locking)
    }

    fn stay(&self, locking: &Locking<'_>, name: &str) -> Result<(), LockError> {
        match locking.namespace_of {
            // The table goes with the namespace, which is empty for a moment and would answer.
            NamespaceOf::Tree => PacketFilter.stay(locking, name),
            NamespaceOf::Others => Ok(()),
        }
    }

    fn lift(&self, _: BorrowedFd<'_>, _: &str) -> Result<(), LockError> {
        Ok(())
    }
}

fn segments<'a>(locking: &Locking<'a>) -> Segments<'a> {
    match locking.connections {
        Locked::All => Segments::All,
        Locked::These(ends) => Segments::Of(ends),
    }
}

struct Held(ConnectionLock);

impl LockGuard for Held {
    fn release(self: Box<Self>) -> Result<(), LockError> {
        drop(self.0);
        Ok(())
    }
}

/// The lock that a monitor took before the container could be reached: it ends at our word.
pub(crate) struct MonitorsLock<'a> {
    pub control: &'a OwnedFd,
}

impl NetworkLock for MonitorsLock<'_> {
    fn lock(&self, _: &Locking<'_>) -> Result<Box<dyn LockGuard>, LockError> {
        Ok(Box::new(AtMonitor(self.control.try_clone()?)))
    }

    /// Nobody answers for a container whose network is gone.
    fn stay(&self, _: &Locking<'_>, _: &str) -> Result<(), LockError> {
        Ok(())
    }

    fn lift(&self, _: BorrowedFd<'_>, _: &str) -> Result<(), LockError> {
        Ok(())
    }
}

struct AtMonitor(OwnedFd);

impl LockGuard for AtMonitor {
    fn release(self: Box<Self>) -> Result<(), LockError> {
        wire::send(&self.0, &Order::Unlock)?;
        match wire::receive(&self.0)? {
            Some(Notice::Unlocked) => Ok(()),
            Some(Notice::Failed { message, .. }) => Err(message.into()),
            Some(Notice::Created { .. } | Notice::Started) | None => Err("the monitor died".into()),
        }
    }
}
