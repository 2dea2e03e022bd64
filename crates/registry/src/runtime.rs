//! Where the asynchronous work of this room runs: in one thread, and not longer than a call.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Context, Result};

/// How long an end waits for helping threads; one may stand before a lock that somebody else holds.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Runs pieces of work one after the other. Connections and helping threads live as long as this.
pub struct EventLoop(Option<Runtime>);

impl EventLoop {
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if the kernel gives no room for it.
    pub fn new() -> Result<EventLoop> {
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(EventLoop(Some(runtime.context("make", "an event loop")?)))
    }

    /// Runs a piece of work to its end.
    ///
    /// # Errors
    /// Those of the work.
    pub fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.0.as_ref().expect("only the end takes it").block_on(work)
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(LEAVE_TIME);
        }
    }
}

/// Does what may wait for a disk or a lock, while other work of the event loop goes on.
///
/// # Errors
/// Those of the work.
pub async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("wait for", "a helping thread")?
}
