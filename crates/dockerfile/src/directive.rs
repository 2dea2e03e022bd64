//! Parser directives: comments of the form `# key=value` at the very top.
//!
//! `escape` is followed. `syntax` and `check` name another front end and its linting; there is only
//! this one, so they are read over.

use crate::error::{Error, Place, Result};

pub(crate) const DEFAULT_ESCAPE: char = '\\';

/// The escape character that the directives of `text` ask for.
pub(crate) fn escape(text: &str) -> Result<char> {
    let mut escape = None;
    for (index, line) in text.lines().enumerate() {
        let Some((key, value)) = directive(line) else { break };
        if key != "escape" {
            continue;
        }
        let place = Place { line: index + 1, column: 1 };
        if escape.is_some() {
            return Err(Error::new(place, "only one escape directive can be used"));
        }
        escape = Some(escape_character(value, place)?);
    }
    Ok(escape.unwrap_or(DEFAULT_ESCAPE))
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let key = key.trim().to_ascii_lowercase();
    matches!(key.as_str(), "escape" | "syntax" | "check").then_some((key, value.trim()))
}

fn escape_character(value: &str, place: Place) -> Result<char> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(Error::new(place, format!("invalid escape character {other:?}"))
            .hint("expected a backslash or a backtick")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: char) {
        assert_eq!(escape(text), Ok(expect), "{text:?}");
    }

    #[test]
    fn only_the_top_counts() {
        check("FROM scratch\n", '\\');
        check("# escape=`\nFROM scratch\n", '`');
        check("# syntax=docker/dockerfile:1\n#  Escape = ` \nFROM scratch\n", '`');
        check("# a comment\n# escape=`\n", '\\');
        check("\n# escape=`\n", '\\');
    }

    #[test]
    fn other_characters_are_refused_with_their_line() {
        assert_eq!(escape("# syntax=a\n# escape=x\n").unwrap_err().place.line, 2);
        assert!(escape("# escape=`\n# escape=\\\n").is_err());
    }
}
