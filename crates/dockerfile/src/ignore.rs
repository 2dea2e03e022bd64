//! `.dockerignore`: which files of a context do not take part.
//!
//! As Docker reads it: the last line that matches decides, `!` takes a file back in, a directory's
//! verdict holds for what is in it, `**` stands for any number of directories.

use std::path::{Component, Path, PathBuf};

use crate::{
    error::{Fault, Place, Result},
    glob::Glob,
};

#[derive(Clone, Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    glob: Glob,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    Ignored,
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    /// A pattern that cannot be read, with its place.
    pub fn parse(text: &str) -> Result<Ignore> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let place = Place { line: index + 1, column: 1 };
            if !line.starts_with('#') {
                rules.extend(rule(line).map_err(|fault| fault.at(place))?);
            }
        }
        Ok(Ignore { rules })
    }

    /// The patterns of `--exclude`.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn from_patterns(patterns: &[String], place: Place) -> Result<Ignore> {
        let mut rules = Vec::new();
        for pattern in patterns {
            rules.extend(rule(pattern).map_err(|fault| fault.at(place))?);
        }
        Ok(Ignore { rules })
    }

    /// Does the file at `path`, relative to the context, take part?
    pub fn verdict(&self, path: &Path) -> Verdict {
        let last = self.rules.iter().rev().find(|rule| {
            path.ancestors().any(|part| part != Path::new("") && rule.glob.matches(part))
        });
        last.map_or(Verdict::Kept, |rule| rule.verdict)
    }

    /// May there be kept files in an ignored directory?
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.verdict == Verdict::Kept)
    }
}

fn rule(line: &str) -> std::result::Result<Option<Rule>, Fault> {
    let (pattern, verdict) = match line.trim() {
        "" => return Ok(None),
        "!" => return Err(Fault::new("\"!\" alone takes nothing back in")),
        text => match text.strip_prefix('!') {
            Some(pattern) => (pattern.trim(), Verdict::Kept),
            None => (text, Verdict::Ignored),
        },
    };
    let cleaned = cleaned(pattern);
    // The context itself cannot be left out.
    if cleaned.is_empty() {
        return Ok(None);
    }
    Ok(Some(Rule { glob: Glob::compile(&cleaned)?, verdict }))
}

/// The pattern without `.`, `..` that can be resolved, doubled and outer slashes.
fn cleaned(pattern: &str) -> String {
    let mut path = PathBuf::new();
    for component in Path::new(pattern).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, kept: &[&str], ignored: &[&str]) {
        let ignore = Ignore::parse(text).unwrap();
        for (paths, expect) in [(kept, Verdict::Kept), (ignored, Verdict::Ignored)] {
            for path in paths {
                assert_eq!(ignore.verdict(Path::new(path)), expect, "{path} by {text:?}");
            }
        }
    }

    #[test]
    fn one_pattern() {
        check("*/temp*", &["temp", "a/b/temp"], &["a/temporary.txt", "a/temp", "a/temp/x"]);
        check("temp?", &["temp", "temp12"], &["tempa"]);
        check("/foo/", &["a/foo"], &["foo", "foo/x/y"]);
        check("./a/../b//c", &["b"], &["b/c"]);
        check("{a,b}", &["a", "b"], &["{a,b}"]);
        check("[a-c].txt", &["d.txt"], &["b.txt"]);
        check(r"\*.txt", &["a.txt"], &["*.txt"]);
    }

    #[test]
    fn any_number_of_directories() {
        check("**/*.go", &["a.rs"], &["a.go", "x/a.go", "x/y/a.go"]);
        check("a/**/b", &["b", "a/x"], &["a/b", "a/x/b", "a/x/y/b"]);
        check("a/**", &["a"], &["a/b", "a/b/c"]);
        check("**", &[], &["a", "a/b"]);
    }

    #[test]
    fn the_last_match_decides() {
        check("*.md\n!README.md", &["README.md"], &["x.md"]);
        check("*.md\n!README*.md\nREADME-secret.md", &["README.md"], &["README-secret.md", "x.md"]);
        check("*.md\nREADME-secret.md\n!README*.md", &["README.md", "README-secret.md"], &["x.md"]);
        check("dir\n!dir/keep", &["dir/keep", "dir/keep/x"], &["dir", "dir/other"]);
        check("# c\n\n  \n!x\n", &["x", "# c"], &[]);
        check("*\n!a/b", &["a/b"], &["a", "c", "a/c"]);
    }

    #[test]
    fn faults_have_their_line() {
        assert_eq!(Ignore::parse("a\n!\n").unwrap_err().place.line, 2);
        assert_eq!(Ignore::parse("a\n\n[\n").unwrap_err().place.line, 3);
    }
}
