//! Who comes before whom.

/// What decides about the place of an item.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub id: &'a str,
    /// Who must come before it. That one of them is not there at all is fine.
    pub needs: Vec<&'a str>,
}

/// Puts each item after all it needs, and otherwise leaves the order as it is. In a circle the first
/// one stays first.
pub(super) fn in_order<T>(items: Vec<T>, node: impl Fn(&T) -> Node<'_>) -> Vec<T> {
    let mut left = items;
    let mut sorted = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let at = left.iter().position(|item| !waits(item, &left, &node)).unwrap_or(0);
        sorted.push(left.remove(at));
    }
    sorted
}

fn waits<T>(item: &T, left: &[T], node: &impl Fn(&T) -> Node<'_>) -> bool {
    let Node { id, needs } = node(item);
    left.iter().map(|other| node(other).id).any(|other| other != id && needs.contains(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(items: &[(&str, &[&str])], expect: &[&str]) {
        let sorted = in_order(items.to_vec(), |(id, needs)| Node { id, needs: needs.to_vec() });
        assert_eq!(sorted.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn needs_come_first_and_nothing_else_moves() {
        check(&[("a", &["b"]), ("b", &["c"]), ("c", &[])], &["c", "b", "a"]);
        check(&[("b", &[]), ("c", &["a"]), ("a", &[])], &["b", "a", "c"]);
    }

    #[test]
    fn circles_and_who_is_not_there_keep_nobody_waiting() {
        check(&[("b", &["a"]), ("a", &["b"]), ("c", &["gone", "c"])], &["c", "b", "a"]);
    }
}
