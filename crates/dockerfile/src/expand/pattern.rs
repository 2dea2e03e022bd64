//! Shell patterns with `*` and `?`, for the modifiers `#`, `%` and `/`.

/// Replacing looks for a match at every place; longer values would take too long.
const MAX_REPLACE_CHARS: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    AnyRun,
    AnyOne,
    Char(char),
}

pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    /// Reads a pattern; a backslash makes the next character plain.
    pub fn parse(text: &str) -> Pattern {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::AnyRun,
                '?' => Token::AnyOne,
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                c => Token::Char(c),
            });
        }
        Pattern(tokens)
    }

    /// Length of the shortest beginning of `text` that matches; zero if none does.
    pub fn shortest_prefix(&self, text: &[char]) -> usize {
        prefixes(&self.0, text.iter().copied()).first().copied().unwrap_or(0)
    }

    pub fn longest_prefix(&self, text: &[char]) -> usize {
        prefixes(&self.0, text.iter().copied()).last().copied().unwrap_or(0)
    }

    pub fn shortest_suffix(&self, text: &[char]) -> usize {
        self.reversed().shortest_prefix(&text.iter().rev().copied().collect::<Vec<_>>())
    }

    pub fn longest_suffix(&self, text: &[char]) -> usize {
        self.reversed().longest_prefix(&text.iter().rev().copied().collect::<Vec<_>>())
    }

    fn reversed(&self) -> Pattern {
        Pattern(self.0.iter().rev().copied().collect())
    }

    /// Replaces the first `times` matches, each as long as possible; nothing if that is too much work.
    pub fn replace(&self, text: &[char], replacement: &str, times: usize) -> Option<String> {
        if text.len() > MAX_REPLACE_CHARS || self.0.len() > MAX_REPLACE_CHARS {
            return None;
        }
        let mut result = String::new();
        let (mut at, mut left) = (0, times);
        while at < text.len() {
            let len = if left > 0 { self.longest_prefix(&text[at..]) } else { 0 };
            if len > 0 {
                result.push_str(replacement);
                left -= 1;
            } else {
                result.push(text[at]);
            }
            at += len.max(1);
        }
        Some(result)
    }
}

/// All lengths of beginnings that match, ascending. Keeps the set of places in the pattern that can
/// be reached, so that the work is at most the product of both lengths.
fn prefixes(pattern: &[Token], text: impl Iterator<Item = char>) -> Vec<usize> {
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    pass_runs(pattern, &mut reached);
    let mut found = Vec::new();
    if reached[pattern.len()] {
        found.push(0);
    }
    for (index, c) in text.enumerate() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, token) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match token {
                Token::AnyRun => next[at] = true,
                Token::AnyOne => next[at + 1] = true,
                Token::Char(wanted) => next[at + 1] |= *wanted == c,
            }
        }
        pass_runs(pattern, &mut next);
        if next[pattern.len()] {
            found.push(index + 1);
        }
        reached = next;
    }
    found
}

/// A run may be empty: whoever stands before it stands behind it too.
fn pass_runs(pattern: &[Token], reached: &mut [bool]) {
    for (at, token) in pattern.iter().enumerate() {
        if reached[at] && *token == Token::AnyRun {
            reached[at + 1] = true;
        }
    }
}
