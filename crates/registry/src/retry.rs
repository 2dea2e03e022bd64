//! Once more, after a while: networks break and registries have bad moments.

use std::time::Duration;

use crate::error::Result;

/// So often in a row without anything gained.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Counts the attempts of one piece of work.
#[derive(Debug, Default)]
pub struct Patience {
    failures: u32,
}

impl Patience {
    /// Something was gained, so that the next failure is a first one again.
    pub fn renew(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next attempt if the error may pass, longer each time.
    ///
    /// # Errors
    /// The error itself if it does not pass, or has not passed often enough.
    pub async fn endure(&mut self, error: crate::Error) -> Result<()> {
        self.failures += 1;
        if !error.is_passing() || self.failures >= ATTEMPTS {
            return Err(error);
        }
        let pause = pause(self.failures);
        tracing::info!(%error, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Does something until it succeeds or there is no hope.
///
/// # Errors
/// The last error.
pub async fn persistently<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut patience = Patience::default();
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => patience.endure(error).await?,
        }
    }
}

fn pause(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        assert_eq!(pause(1), FIRST_PAUSE);
        assert_eq!(pause(2), FIRST_PAUSE * 2);
        assert_eq!(pause(40), LONGEST_PAUSE);
        assert_eq!(pause(4), FIRST_PAUSE * 8);
    }
}
