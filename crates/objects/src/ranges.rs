//! Ranges of addresses, in ascending order and apart from each other.

use std::ops::Range;

/// What of `range` lies in none of `others`.
pub fn outside<'a>(
    range: &Range<u64>,
    others: impl IntoIterator<Item = &'a Range<u64>>,
) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut at = range.start;
    for other in others {
        if other.end <= at {
            continue;
        }
        if other.start >= range.end {
            break;
        }
        push(&mut left, at..other.start);
        at = other.end;
    }
    push(&mut left, at..range.end);
    left
}

/// What of `range` lies in one of `others`.
pub fn inside<'a>(
    range: &Range<u64>,
    others: impl IntoIterator<Item = &'a Range<u64>>,
) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    for other in others {
        if other.start >= range.end {
            break;
        }
        push(&mut found, other.start.max(range.start)..other.end.min(range.end));
    }
    found
}

/// Those of sorted `ranges` that may touch `range`, without looking at the ones before.
pub fn from<'a>(ranges: &'a [Range<u64>], range: &Range<u64>) -> &'a [Range<u64>] {
    &ranges[ranges.partition_point(|other| other.end <= range.start)..]
}

fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    if range.start < range.end {
        ranges.push(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_by_others() {
        let others = [0..2, 4..6, 6..7, 9..12];
        assert_eq!(outside(&(1..10), &others), [2..4, 7..9]);
        assert_eq!(inside(&(1..10), &others), [1..2, 4..6, 6..7, 9..10]);
        assert_eq!(outside(&(0..8), &others), [2..4, 7..8]);
        assert_eq!(inside(&(2..4), &others), []);
        assert_eq!(outside(&(4..7), &others), []);
        assert_eq!(outside(&(7..30), &others), [7..9, 12..30]);
        assert_eq!(from(&others, &(6..9)), [6..7, 9..12]);
    }
}
