//! Work that another thread of ours is ahead with, on another processor, while this one and the tasks stay on
//! theirs.
//!
//! What it makes is handed over in portions: to wake a thread on another processor for each piece would take
//! longer than the pieces.

use std::{sync::mpsc::sync_channel, thread::Scope};

use crate::processor::OneProcessor;

/// Fewer pieces than this are not worth another thread.
const FEW: usize = 4;

/// Gives the pieces of `work` in their order; unless they are few, another thread is ahead with them.
///
/// A portion ends when its pieces together weigh as much as many small ones.
pub fn of<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl ExactSizeIterator<Item = T> + Send + 'scope,
    weigh: impl Fn(&T) -> usize + Send + 'scope,
    processor: Option<&'scope OneProcessor>,
) -> Box<dyn Iterator<Item = T> + 'scope> {
    match work.len() {
        ..FEW => Box::new(work),
        _ => Box::new(of_heavy(scope, work, weigh, processor)),
    }
}

/// The same for pieces that are worth another thread however few they are.
pub fn of_heavy<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut work: impl Iterator<Item = T> + Send + 'scope,
    weigh: impl Fn(&T) -> usize + Send + 'scope,
    processor: Option<&'scope OneProcessor>,
) -> impl Iterator<Item = T> + 'scope {
    const HEAVY: usize = 4096;
    const MANY: usize = 16;
    let (sender, receiver) = sync_channel(2);
    scope.spawn(move || {
        processor.inspect(|processor| processor.let_me_out());
        loop {
            let (mut portion, mut weight) = (Vec::new(), 0);
            while weight < HEAVY && portion.len() < MANY {
                let Some(piece) = work.next() else { break };
                weight += weigh(&piece);
                portion.push(piece);
            }
            // Whoever does not want the rest has gone.
            if portion.is_empty() || sender.send(portion).is_err() {
                break;
            }
        }
    });
    receiver.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn all_pieces_come_in_their_order() {
        for (count, weight) in [(2, 0), (100, 0), (100, 1000), (100, 10_000)] {
            let pieces: Vec<i32> =
                thread::scope(|scope| of(scope, 0..count, |_| weight, None).collect());
            assert_eq!(pieces, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_has_enough_ends_the_work() {
        let first = thread::scope(|scope| of(scope, 0..i32::MAX, |_| 1, None).next());
        assert_eq!(first, Some(0));
    }
}
