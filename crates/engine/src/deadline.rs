//! When a checkpoint is given up for want of time.

use std::{io, time::Instant};

use crate::facade::{CheckpointOptions, Error};

/// The end of the time that a checkpoint was given, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// There is time.
    pub const NONE: Deadline = Deadline(None);

    pub fn of(options: &CheckpointOptions<'_>) -> Deadline {
        Deadline(options.deadline)
    }

    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when it has passed.
    pub fn check(self) -> io::Result<()> {
        match self.0.is_some_and(|end| Instant::now() > end) {
            false => Ok(()),
            true => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the time given for the checkpoint is over",
            )),
        }
    }

    /// As [`Deadline::check`], outside of streams.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn check_phase(self) -> Result<(), Error> {
        self.check().map_err(|error| Error::Failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_has_passed_counts() {
        let now = Instant::now();
        assert!(Deadline(None).check().is_ok());
        assert!(Deadline(Some(now + Duration::from_secs(60))).check().is_ok());
        let over = Deadline(now.checked_sub(Duration::from_millis(1))).check();
        assert_eq!(over.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
