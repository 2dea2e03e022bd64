//! Variables in words: `$V`, `${V}`, and the modifiers `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%`
//! `/` `//` (Dockerfile reference, "Environment replacement"); quotes and escapes are resolved too.

mod pattern;

use std::{iter::Peekable, str::Chars};

use crate::error::Fault;
use pattern::Pattern;

/// `${a:-${b:-…` nested deeper than this is refused.
const MAX_DEPTH: usize = 32;
/// A value must not grow above this: each variable can hold several copies of the one before.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Puts values in the place of variables.
#[derive(Clone, Copy)]
pub struct Expander<'a> {
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Quotes and escapes are resolved, as in instructions.
    Word,
    /// Quotes are plain characters and an escape counts only before `$` and itself, as in heredocs.
    Heredoc,
    /// Escapes stay for a pattern to read.
    Pattern,
}

type Result<T> = std::result::Result<T, Fault>;

impl<'a> Expander<'a> {
    /// `lookup` knows the values; a variable that it does not know is unset.
    pub fn new(escape: char, lookup: &'a dyn Fn(&str) -> Option<String>) -> Expander<'a> {
        Expander { escape, lookup }
    }

    pub(crate) fn word(&self, word: &str) -> Result<String> {
        self.read(word, self.escape, Style::Word)
    }

    /// The words that `word` becomes; blanks in values separate words too.
    pub(crate) fn words(&self, word: &str) -> Result<Vec<String>> {
        Ok(self.word(word)?.split_whitespace().map(str::to_owned).collect())
    }

    pub(crate) fn heredoc(&self, body: &str) -> Result<String> {
        self.read(body, '\\', Style::Heredoc)
    }

    fn read(&self, text: &str, escape: char, style: Style) -> Result<String> {
        let chars = text.chars().peekable();
        Reader { chars, escape, lookup: self.lookup, depth: 0 }.until(None, style)
    }
}

/// Resolves quotes and escapes; a `$` is a plain character.
pub(crate) fn unquote(word: &str) -> Result<String> {
    let mut plain = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => plain.extend(chars.next()),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => plain.push(c),
        }
    }
    match quote {
        None => Ok(plain),
        Some(open) => Err(unclosed(open)),
    }
}

fn unclosed(quote: char) -> Fault {
    Fault::new(format!("a quoted string in the instruction is not closed: expected {quote}"))
}

struct Reader<'t, 'e> {
    chars: Peekable<Chars<'t>>,
    escape: char,
    lookup: &'e dyn Fn(&str) -> Option<String>,
    depth: usize,
}

impl Reader<'_, '_> {
    /// Reads up to the character `stop` and consumes it, or to the end of the text.
    fn until(&mut self, stop: Option<char>, style: Style) -> Result<String> {
        let mut result = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                c if Some(c) == stop => return Ok(result),
                '\'' if style != Style::Heredoc => self.single_quoted(&mut result)?,
                '"' if style != Style::Heredoc => self.double_quoted(&mut result)?,
                '$' => result.push_str(&self.variable()?),
                c if c == self.escape => self.escaped(&mut result, style),
                c => result.push(c),
            }
            bounded(&result)?;
        }
        match stop {
            None => Ok(result),
            Some(stop) => Err(missing(stop)),
        }
    }

    fn escaped(&mut self, result: &mut String, style: Style) {
        let is_special = self.chars.peek().is_some_and(|c| *c == '$' || *c == self.escape);
        match style {
            Style::Word => {}
            Style::Heredoc if is_special => {}
            Style::Heredoc => return result.push(self.escape),
            Style::Pattern => result.push('\\'),
        }
        result.extend(self.chars.next());
    }

    fn single_quoted(&mut self, result: &mut String) -> Result<()> {
        for c in self.chars.by_ref() {
            if c == '\'' {
                return Ok(());
            }
            result.push(c);
        }
        Err(unclosed('\''))
    }

    fn double_quoted(&mut self, result: &mut String) -> Result<()> {
        while let Some(c) = self.chars.next() {
            match c {
                '"' => return Ok(()),
                '$' => result.push_str(&self.variable()?),
                c if c == self.escape => match self.chars.peek().copied() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        self.chars.next();
                        result.push(next);
                    }
                    Some(_) => result.push(c),
                    None => {}
                },
                c => result.push(c),
            }
            bounded(result)?;
        }
        Err(unclosed('"'))
    }

    /// What stands behind a `$`, which was consumed.
    fn variable(&mut self) -> Result<String> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() { "$".into() } else { self.value(&name) });
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(format!("variables are nested deeper than {MAX_DEPTH} levels")));
        }
        let value = self.braced()?;
        self.depth -= 1;
        Ok(value)
    }

    fn braced(&mut self) -> Result<String> {
        let name = self.name();
        if name.is_empty() {
            return Err(Fault::new("bad substitution").hint("expected a name after ${"));
        }
        match self.chars.next() {
            None => Err(missing('}')),
            Some('}') => Ok(self.value(&name)),
            Some(':') => {
                let value = (self.lookup)(&name).filter(|value| !value.is_empty());
                match self.chars.next() {
                    Some(c @ ('-' | '+' | '?')) => self.alternative(&name, value, c),
                    other => Err(unsupported(&name, other)),
                }
            }
            Some(c @ ('-' | '+' | '?')) => self.alternative(&name, (self.lookup)(&name), c),
            Some(c @ ('#' | '%')) => self.trimmed(&name, c),
            Some('/') => self.replaced(&name),
            other => Err(unsupported(&name, other)),
        }
    }

    /// `${V-x}`, `${V+x}` and `${V?x}`; what counts as unset was decided by the caller.
    fn alternative(&mut self, name: &str, value: Option<String>, modifier: char) -> Result<String> {
        let word = self.until(Some('}'), Style::Word)?;
        match (modifier, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) if word.is_empty() => {
                Err(Fault::new(format!("{name}: not allowed to be unset")))
            }
            (_, None) => Err(Fault::new(format!("{name}: {word}"))),
        }
    }

    /// `${V#pattern}`, `${V##pattern}`, `${V%pattern}` and `${V%%pattern}`.
    fn trimmed(&mut self, name: &str, side: char) -> Result<String> {
        let is_greedy = self.chars.next_if_eq(&side).is_some();
        let pattern = Pattern::parse(&self.until(Some('}'), Style::Pattern)?);
        let value: Vec<char> = self.value(name).chars().collect();
        let rest = match (side, is_greedy) {
            ('#', false) => &value[pattern.shortest_prefix(&value)..],
            ('#', true) => &value[pattern.longest_prefix(&value)..],
            (_, false) => &value[..value.len() - pattern.shortest_suffix(&value)],
            (_, true) => &value[..value.len() - pattern.longest_suffix(&value)],
        };
        Ok(rest.iter().collect())
    }

    /// `${V/pattern/replacement}` and `${V//pattern/replacement}`.
    fn replaced(&mut self, name: &str) -> Result<String> {
        let times = if self.chars.next_if_eq(&'/').is_some() { usize::MAX } else { 1 };
        let pattern = Pattern::parse(&self.until(Some('/'), Style::Pattern)?);
        let replacement = self.until(Some('}'), Style::Word)?;
        let value: Vec<char> = self.value(name).chars().collect();
        pattern
            .replace(&value, &replacement, times)
            .ok_or_else(|| Fault::new(format!("the value of {name} is too long to replace in it")))
    }

    fn value(&self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_default()
    }

    /// A name, a number, or one of the shell's special characters; may be empty.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek() {
            Some(c) if c.is_ascii_digit() => {
                name.extend(std::iter::from_fn(|| self.chars.next_if(char::is_ascii_digit)));
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.chars.next()),
            _ => name.extend(std::iter::from_fn(|| {
                self.chars.next_if(|c| c.is_alphanumeric() || *c == '_')
            })),
        }
        name
    }
}

fn missing(stop: char) -> Fault {
    Fault::new("a substitution in the instruction is not closed").hint(format!("expected {stop}"))
}

fn unsupported(name: &str, modifier: Option<char>) -> Fault {
    let modifier = modifier.map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
    Fault::new(format!("unsupported modifier {modifier} in the substitution of {name}"))
        .hint("expected one of } :- - :+ + :? ? # ## % %% / //")
}

fn bounded(value: &str) -> Result<()> {
    match value.len() > MAX_VALUE_BYTES {
        true => Err(Fault::new("a value grows above 1 MiB when its variables are expanded")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "a" => Some("value".into()),
            "empty" => Some(String::new()),
            "path" => Some("/usr/lib/x.tar.gz".into()),
            _ => None,
        }
    }

    fn expand(word: &str) -> Result<String> {
        Expander::new('\\', &lookup).word(word)
    }

    fn check(word: &str, expect: &str) {
        assert_eq!(expand(word).as_deref(), Ok(expect), "{word}");
    }

    #[test]
    fn plain_and_braced() {
        check("$a", "value");
        check("x${a}y$empty$unset.", "xvaluey.");
        check("$a_b ${a}_b", " value_b");
        check("cost: 5$", "cost: 5$");
        check("$1a $10b", "a b");
    }

    #[test]
    fn quotes_and_escapes() {
        check("'$a'", "$a");
        check("\"$a b\"", "value b");
        check("\\$a", "$a");
        check(r#""\$a \x \"""#, r#"$a \x ""#);
        check(r"a\ b\\c", r"a b\c");
        check(r"'a\'b", r"a\b");
        assert_eq!(Expander::new('`', &lookup).word(r"`$a\b").as_deref(), Ok(r"$a\b"));
    }

    #[test]
    fn alternatives() {
        check("${a:-x} ${unset:-x} ${empty:-x} ${empty-x}.", "value x x .");
        check("${a:+x} ${unset:+x}${empty:+x}${empty+x}", "x x");
        check("${unset:-${a}s} ${unset:-'}'}", "values }");
        assert_eq!(expand("${unset:?no value}").unwrap_err().what, "unset: no value");
        assert!(expand("${empty:?}").is_err());
        check("${empty?}", "");
    }

    #[test]
    fn patterns() {
        check("${path#*/}", "usr/lib/x.tar.gz");
        check("${path##*/}", "x.tar.gz");
        check("${path%.*}", "/usr/lib/x.tar");
        check("${path%%.*}", "/usr/lib/x");
        check("${path#nothing}", "/usr/lib/x.tar.gz");
        check("${a/l?/L}", "vaLe");
        check(r"${path//\//-}", "-usr-lib-x.tar.gz");
        check("${path/usr/}", "//lib/x.tar.gz");
        check(r"${a#\*}", "value");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for word in ["${", "${}", "${a", "${a:", "${a:x}", "${a^}", "'a", "\"a", "${a/x}", "${:-x}"]
        {
            assert!(expand(word).is_err(), "{word}");
        }
        let nested = "${x:-".repeat(100) + &"}".repeat(100);
        assert!(expand(&nested).is_err());
    }

    #[test]
    fn heredocs_keep_quotes_and_most_escapes() {
        let expander = Expander::new('\\', &lookup);
        assert_eq!(
            expander.heredoc("it's \"$a\" \\n \\$a\n").as_deref(),
            Ok("it's \"value\" \\n $a\n")
        );
    }

    proptest! {
        #[test]
        fn no_word_makes_it_panic(word in "[${}a:+?#%/'\"\\\\*x-]{0,40}") {
            let _ = expand(&word);
            let _ = unquote(&word);
        }

        #[test]
        fn single_quotes_keep_everything(text in "[^']*") {
            prop_assert_eq!(expand(&format!("'{text}'")).unwrap(), text);
        }
    }
}
