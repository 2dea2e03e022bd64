//! From a file to its logical lines: comments dropped, continued lines joined, heredocs read.

use std::{iter::Peekable, str::SplitInclusive};

use crate::{
    error::{Error, Place, Result},
    heredoc::{self, Heredoc},
};

/// One instruction's text.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Joined, without comments and without white space around it.
    pub text: String,
    pub heredocs: Vec<Heredoc>,
    /// Where pieces of `text` come from: offset in it, and place in the file.
    pieces: Vec<(usize, Place)>,
}

impl Line {
    /// A line that was part of another one, or of an image's configuration.
    pub fn at(place: Place, text: &str, heredocs: Vec<Heredoc>) -> Line {
        Line { text: text.to_owned(), heredocs, pieces: vec![(0, place)] }
    }

    pub fn place(&self) -> Place {
        self.place_of(0)
    }

    /// The place in the file of the byte at `offset` of the text.
    pub fn place_of(&self, offset: usize) -> Place {
        let last = self.pieces.iter().rev().find(|(start, _)| *start <= offset);
        let (start, place) = last.copied().unwrap_or((0, Place::START));
        let before = self.text.get(start..offset).unwrap_or_default();
        Place { line: place.line, column: place.column + before.chars().count() }
    }
}

/// Reads logical lines one after the other.
pub(crate) struct Lines<'a> {
    rest: Peekable<SplitInclusive<'a, char>>,
    number: usize,
    escape: char,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str, escape: char) -> Lines<'a> {
        Lines { rest: text.split_inclusive('\n').peekable(), number: 0, escape }
    }

    /// The next instruction's line, or nothing at the end.
    ///
    /// # Errors
    /// A heredoc that is never closed.
    pub fn next(&mut self) -> Result<Option<Line>> {
        let Some(first) = self.skip_to_text() else { return Ok(None) };
        let mut line = self.join(first);
        if takes_heredocs(&line.text) {
            line.heredocs = heredoc::announced(&line.text, self.escape);
            for at in 0..line.heredocs.len() {
                self.read_body(line.place(), &mut line.heredocs[at])?;
            }
        }
        Ok(Some(line))
    }

    fn raw(&mut self) -> Option<&'a str> {
        let line = self.rest.next()?;
        self.number += 1;
        Some(line)
    }

    fn skip_to_text(&mut self) -> Option<&'a str> {
        loop {
            let line = self.raw()?;
            if !is_void(line) {
                return Some(line);
            }
        }
    }

    /// Joins `first` with the lines that continue it. Comments and empty lines between are dropped,
    /// as Docker has always done.
    fn join(&mut self, first: &str) -> Line {
        let trimmed = first.trim_start();
        let column = first[..first.len() - trimmed.len()].chars().count() + 1;
        let place = Place { line: self.number, column };
        let mut line = Line { text: String::new(), heredocs: Vec::new(), pieces: vec![(0, place)] };
        let mut open = self.append(&mut line, trimmed);
        while open {
            let Some(raw) = self.raw() else { break };
            if !is_void(raw) {
                line.pieces.push((line.text.len(), Place { line: self.number, column: 1 }));
                open = self.append(&mut line, raw);
            }
        }
        line.text.truncate(line.text.trim_end().len());
        line
    }

    /// Appends a line without its end; tells whether it is continued.
    fn append(&self, line: &mut Line, raw: &str) -> bool {
        let text = raw.trim_end_matches(['\n', '\r']);
        match continued(text, self.escape) {
            Some(text) => line.text.push_str(text),
            None => line.text.push_str(text),
        }
        continued(text, self.escape).is_some()
    }

    fn read_body(&mut self, announced_at: Place, heredoc: &mut Heredoc) -> Result<()> {
        while let Some(raw) = self.raw() {
            if heredoc.ends_at(raw.trim_end_matches(['\n', '\r'])) {
                return Ok(());
            }
            heredoc.body.push_str(raw);
        }
        let name = &heredoc.name;
        Err(Error::new(announced_at, format!("the heredoc {name:?} is never closed"))
            .hint(format!("expected a line with nothing but {name}")))
    }
}

/// Nothing but white space, or a comment.
fn is_void(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// The text before the escape character that ends a line; a doubled one ends nothing.
fn continued(text: &str, escape: char) -> Option<&str> {
    let before = text.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

fn takes_heredocs(text: &str) -> bool {
    let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
    let keyword = match words.next() {
        Some(word) if word == "ONBUILD" => words.next(),
        word => word,
    };
    keyword.is_some_and(|word| matches!(word.as_str(), "RUN" | "COPY" | "ADD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Line> {
        let mut lines = Lines::new(text, '\\');
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    fn check(text: &str, expect: &[&str]) {
        let found: Vec<String> = lines(text).into_iter().map(|line| line.text).collect();
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn continued_lines_are_joined() {
        check("A b\nC d", &["A b", "C d"]);
        check("RUN a \\\n  b \\  \r\n# no\n\n  c\nX", &["RUN a   b   c", "X"]);
        check("RUN a\\\\\nB", &["RUN a\\\\", "B"]);
        check("  # c\n\n RUN x \\\n", &["RUN x"]);
    }

    #[test]
    fn heredocs_belong_to_their_line() {
        let found = lines("RUN cat <<A <<B >x\n1\nA\n2\nB\nCMD x <<C\nENV a b\n");
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].heredocs[0].body, "1\n");
        assert_eq!(found[0].heredocs[1].body, "2\n");
        assert!(found[1].heredocs.is_empty());
        let error = Lines::new("FROM x\n RUN <<E\nx\n", '\\').nth_error();
        assert_eq!(error.place, Place { line: 2, column: 2 });
    }

    impl Lines<'_> {
        fn nth_error(mut self) -> Error {
            loop {
                match self.next() {
                    Ok(line) => assert!(line.is_some(), "no error"),
                    Err(error) => return error,
                }
            }
        }
    }

    #[test]
    fn places_lead_back_to_the_file() {
        let found = lines("# x\n  RUN ä \\\n    b\n");
        let line = &found[0];
        let place = |text: &str| line.place_of(line.text.find(text).unwrap());
        assert_eq!(place("RUN"), Place { line: 2, column: 3 });
        assert_eq!(place("b"), Place { line: 3, column: 5 });
        assert_eq!(place("ä"), Place { line: 2, column: 7 });
    }
}
