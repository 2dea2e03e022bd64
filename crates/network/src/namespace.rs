//! Work in the network namespace of a container (network_namespaces(7)).

use std::os::fd::BorrowedFd;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, Error, Result};

/// Does `work` in another network namespace: on a thread of its own, which ends there, so that no
/// error can leave the caller in the wrong one.
///
/// # Errors
/// [`Error::Refused`] if the namespace cannot be entered, or what `work` gives.
pub(crate) fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let enter_and_work = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
            .context("enter", "the container's network namespace")?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter_and_work).join())
        .unwrap_or_else(|_| Err(Error::invalid("the work in a network namespace panicked")))
}
