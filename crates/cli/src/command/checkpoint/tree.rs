//! Which checkpoint came from which, as a tree.

use std::collections::BTreeSet;

use stasis_container::Stored;

use super::shelf::Shelf;
use crate::{size, time};

/// One line per checkpoint of `chosen`; below each those that came from it.
pub fn draw(shelf: &Shelf, chosen: &[Stored]) -> Vec<String> {
    let ids: BTreeSet<&str> = chosen.iter().map(|stored| stored.checkpoint.id.as_str()).collect();
    let mut drawing = Drawing { shelf, chosen: ids, seen: BTreeSet::new(), lines: Vec::new() };
    for stored in chosen {
        let parent = shelf.parent(stored).map(|parent| parent.checkpoint.id.as_str());
        if parent.is_none_or(|parent| !drawing.chosen.contains(parent)) {
            drawing.add(stored, "", "");
        }
    }
    // Who says that it came from itself, by whatever way, has no beginning.
    chosen.iter().for_each(|stored| drawing.add(stored, "", ""));
    drawing.lines
}

struct Drawing<'a> {
    shelf: &'a Shelf,
    chosen: BTreeSet<&'a str>,
    seen: BTreeSet<String>,
    lines: Vec<String>,
}

impl Drawing<'_> {
    /// `before` stands before its own line, `below` before those of its children.
    fn add(&mut self, stored: &Stored, before: &str, below: &str) {
        if !self.seen.insert(stored.checkpoint.id.clone()) {
            return;
        }
        self.lines.push(format!("{before}{}", self.label(stored)));
        let shelf = self.shelf;
        let children: Vec<&Stored> = shelf
            .children(stored)
            .filter(|child| self.chosen.contains(child.checkpoint.id.as_str()))
            .collect();
        for (index, child) in children.iter().enumerate() {
            let (corner, bar) =
                if index + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.add(child, &format!("{below}{corner}"), &format!("{below}{bar}"));
        }
    }

    fn label(&self, stored: &Stored) -> String {
        let checkpoint = &stored.checkpoint;
        let tags: String = self.shelf.tags(stored).iter().map(|tag| format!(" [{tag}]")).collect();
        format!(
            "{}{tags}  {}  {} ago  {}",
            self.shelf.reference(stored),
            stored.short_id(),
            time::since(checkpoint.created),
            size::human(checkpoint.size_bytes),
        )
    }
}
