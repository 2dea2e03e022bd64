//! Splitting a line at white space that is neither quoted nor escaped; the words stay as written.

/// A word and where it begins in the text it was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub offset: usize,
    pub text: &'a str,
}

impl Word<'_> {
    pub fn end(&self) -> usize {
        self.offset + self.text.len()
    }
}

/// The words of `text`. A quote that is never closed reaches to the end.
pub(crate) fn split(text: &str, escape: char) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut offset = 0;
    while let Some(word) = next(text, offset, escape) {
        offset = word.end();
        words.push(word);
    }
    words
}

/// The first word at or after `from`.
pub(crate) fn next(text: &str, from: usize, escape: char) -> Option<Word<'_>> {
    let rest = text.get(from..)?;
    let start = from + rest.find(|c: char| !c.is_whitespace())?;
    let end = start + end_of_word(&text[start..], escape);
    Some(Word { offset: start, text: &text[start..end] })
}

fn end_of_word(text: &str, escape: char) -> usize {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            // Nothing can be escaped between single quotes.
            (None | Some('"'), c) if c == escape => drop(chars.next()),
            (None, c) if c.is_whitespace() => return at,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// Words between white space, whatever quotes they have.
pub(crate) fn split_plain(text: &str) -> Vec<Word<'_>> {
    let base = text.as_ptr() as usize;
    text.split_whitespace()
        .map(|word| Word { offset: word.as_ptr() as usize - base, text: word })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let found: Vec<&str> = split(text, '\\').into_iter().map(|word| word.text).collect();
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn quotes_and_escapes_hold_words_together() {
        check("  a b\tc ", &["a", "b", "c"]);
        check(r#"a="b c" d='e f'g"#, &[r#"a="b c""#, "d='e f'g"]);
        check(r"a\ b c", &[r"a\ b", "c"]);
        check(r#""a\" b" c"#, &[r#""a\" b""#, "c"]);
        check(r"'a\' b", &[r"'a\'", "b"]);
        check("it's open", &["it's open"]);
        check("", &[]);
    }

    #[test]
    fn offsets_lead_to_the_words() {
        for word in split(" aä  'b c' d", '\\').into_iter().chain(split_plain(" x  ü y ")) {
            assert!(
                " aä  'b c' d"[..].get(word.offset..word.end()) == Some(word.text)
                    || " x  ü y "[..].get(word.offset..word.end()) == Some(word.text)
            );
        }
    }
}
