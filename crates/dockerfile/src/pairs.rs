//! `KEY=value …` and the old `KEY value`, as `ENV`, `LABEL` and `ARG` have them.

use crate::{
    error::Fault,
    instruction::{ArgDeclaration, Pair},
    words::{self, Word},
};

/// The pairs of `ENV` and `LABEL`.
pub(crate) fn pairs(keyword: &str, text: &str, escape: char) -> Result<Vec<Pair>, (usize, Fault)> {
    let words = words::split(text, escape);
    let Some(first) = words.first() else {
        return Err((0, Fault::new(format!("{keyword} requires at least one argument"))));
    };
    if !first.text.contains('=') {
        return old_form(keyword, text, *first).map(|pair| vec![pair]);
    }
    words.into_iter().map(pair).collect()
}

/// One key, and all that follows it as the value.
fn old_form(keyword: &str, text: &str, key: Word) -> Result<Pair, (usize, Fault)> {
    match text[key.end()..].trim() {
        "" => Err((
            key.offset,
            Fault::new(format!("{keyword} needs a value for {}", key.text))
                .hint(format!("write {}=VALUE", key.text)),
        )),
        value => Ok(Pair { key: key.text.to_owned(), value: value.to_owned() }),
    }
}

fn pair(word: Word) -> Result<Pair, (usize, Fault)> {
    match word.text.split_once('=') {
        Some(("", _)) => Err((word.offset, Fault::new("a name must not be blank"))),
        Some((key, value)) => Ok(Pair { key: key.to_owned(), value: value.to_owned() }),
        None => Err((
            word.offset,
            Fault::new(format!("cannot find = in {:?}", word.text)).hint("expected KEY=value"),
        )),
    }
}

/// The names of `ARG`, with or without a default.
pub(crate) fn declarations(
    text: &str,
    escape: char,
) -> Result<Vec<ArgDeclaration>, (usize, Fault)> {
    let words = words::split(text, escape);
    if words.is_empty() {
        return Err((0, Fault::new("ARG requires at least one argument")));
    }
    words
        .into_iter()
        .map(|word| {
            if !word.text.contains('=') {
                return Ok(ArgDeclaration { name: word.text.to_owned(), default: None });
            }
            let Pair { key, value } = pair(word)?;
            Ok(ArgDeclaration { name: key, default: Some(value) })
        })
        .collect()
}
