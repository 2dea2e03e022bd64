//! The same for many things, on all processors.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::Result;

/// Waking other processors takes longer than reading or writing so few files.
const FEW: usize = 32;

/// What `work` makes of each thing, in their order; unless they are few, several are worked on at a time.
///
/// # Errors
/// One of those that `work` failed with.
pub(crate) fn map<T: Send, R: Send>(
    things: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> Result<R> + Send + Sync,
) -> Result<Vec<R>> {
    let things: Vec<T> = things.into_iter().collect();
    match things.len() {
        ..FEW => things.into_iter().map(work).collect(),
        _ => things.into_par_iter().map(work).collect(),
    }
}
