//! Which checkpoints are superfluous.

use std::collections::BTreeMap;

/// What is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub among: Among,
    /// The newest so many of each container stay.
    pub keep_last: Option<usize>,
    /// The oldest go until all together have no more than that.
    pub max_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Those whose container is gone.
    Orphans,
    All,
}

/// A checkpoint as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Id of the container it was taken of.
    pub container: &'a str,
    pub size_bytes: u64,
    /// Is its container gone?
    pub is_orphan: bool,
    /// It stays in any case.
    pub is_spared: bool,
}

/// Indexes of what may go of `all`, which are sorted from the oldest to the newest.
pub fn superfluous(all: &[Candidate<'_>], policy: Policy) -> Vec<usize> {
    let is_last = last_ones(all, policy.keep_last.unwrap_or(0));
    let mut left: u64 = all.iter().map(|one| one.size_bytes).sum();
    let mut going = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let is_among = policy.among == Among::All || one.is_orphan;
        let fits = policy.max_bytes.is_some_and(|max| left <= max);
        if is_among && !one.is_spared && !is_last[index] && !fits {
            going.push(index);
            left -= one.size_bytes;
        }
    }
    going
}

/// For each, whether it belongs to the newest `count` of its container.
fn last_ones(all: &[Candidate<'_>], count: usize) -> Vec<bool> {
    let mut newer: BTreeMap<&str, usize> = BTreeMap::new();
    let mut is_last: Vec<bool> = all
        .iter()
        .rev()
        .map(|one| {
            let nr_newer = newer.entry(one.container).or_default();
            *nr_newer += 1;
            *nr_newer <= count
        })
        .collect();
    is_last.reverse();
    is_last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(container: &'static str, size_bytes: u64) -> Candidate<'static> {
        Candidate { container, size_bytes, is_orphan: false, is_spared: false }
    }

    fn check(all: &[Candidate<'_>], policy: Policy, expect: &[usize]) {
        assert_eq!(superfluous(all, policy), expect, "{policy:?}");
    }

    const ALL: Policy = Policy { among: Among::All, keep_last: None, max_bytes: None };

    #[test]
    fn only_orphans_go_unless_more_is_wanted() {
        let all = [one("a", 1), Candidate { is_orphan: true, ..one("b", 1) }, one("a", 1)];
        check(&all, Policy { among: Among::Orphans, ..ALL }, &[1]);
        check(&all, ALL, &[0, 1, 2]);
    }

    #[test]
    fn the_last_ones_of_each_container_stay() {
        let all = [one("a", 1), one("b", 1), one("a", 1), one("a", 1)];
        check(&all, Policy { keep_last: Some(1), ..ALL }, &[0, 2]);
        check(&all, Policy { keep_last: Some(2), ..ALL }, &[0]);
        check(&all, Policy { keep_last: Some(9), ..ALL }, &[]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let all =
            [one("a", 5), Candidate { is_spared: true, ..one("a", 5) }, one("b", 5), one("a", 5)];
        check(&all, Policy { max_bytes: Some(20), ..ALL }, &[]);
        check(&all, Policy { max_bytes: Some(11), ..ALL }, &[0, 2]);
        check(&all, Policy { max_bytes: Some(0), ..ALL }, &[0, 2, 3]);
        check(&all, Policy { max_bytes: Some(0), keep_last: Some(1), ..ALL }, &[0]);
    }
}
