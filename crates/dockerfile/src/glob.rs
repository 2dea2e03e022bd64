//! Patterns for paths as `COPY` and `.dockerignore` have them: Go's `filepath.Match`, and `**`.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use crate::error::Fault;

#[derive(Clone, Debug)]
pub struct Glob(GlobMatcher);

impl Glob {
    /// Compiles a pattern for relative paths: `*` and `?` stay within a name, `**` does not.
    ///
    /// # Errors
    /// A pattern that cannot be read, in words.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        Glob::compile(pattern).map_err(|fault| fault.what)
    }

    pub(crate) fn compile(pattern: &str) -> Result<Glob, Fault> {
        GlobBuilder::new(&without_alternatives(pattern))
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map(|glob| Glob(glob.compile_matcher()))
            .map_err(|error| Fault::new(format!("the pattern {pattern:?}: {}", error.kind())))
    }

    pub fn matches(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }

    /// Does the text mean anything but itself?
    pub fn has_wildcards(pattern: &str) -> bool {
        pattern.contains(['*', '?', '[', '\\'])
    }
}

/// Braces are plain characters in Docker's patterns.
fn without_alternatives(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                plain.push(c);
                plain.extend(chars.next());
            }
            '{' | '}' => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    plain
}
