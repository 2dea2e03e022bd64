//! Heredocs: `<<NAME`, `<<-NAME`, `<<"NAME"` in a line, and the lines after it up to `NAME`.

use crate::{expand, words};

/// A text that stands in the Dockerfile itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word after `<<`; the name of the file that `COPY` makes of it.
    pub name: String,
    /// The lines as they stand, each with its end.
    pub body: String,
    pub variables: HeredocVariables,
    pub tabs: LeadingTabs,
}

/// Whether variables in the body stand for their values; a quoted name says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeredocVariables {
    Expanded,
    Literal,
}

/// What `<<-` does: tabs at the beginnings of lines are not part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeadingTabs {
    Kept,
    Removed,
}

impl Heredoc {
    /// The text that a reader of the heredoc gets.
    pub fn content(&self) -> String {
        match self.tabs {
            LeadingTabs::Kept => self.body.clone(),
            LeadingTabs::Removed => {
                self.body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
            }
        }
    }

    /// Does `line` (without its end) close this heredoc?
    pub(crate) fn ends_at(&self, line: &str) -> bool {
        match self.tabs {
            LeadingTabs::Kept => line == self.name,
            LeadingTabs::Removed => line.trim_start_matches('\t') == self.name,
        }
    }
}

/// The heredocs that a line announces, their bodies still empty.
pub(crate) fn announced(line: &str, escape: char) -> Vec<Heredoc> {
    words::split(line, escape).into_iter().filter_map(|word| announcement(word.text)).collect()
}

/// A word such as `<<EOF`, `3<<-EOF` or `<<'EOF'`.
pub(crate) fn announcement(word: &str) -> Option<Heredoc> {
    let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = word.strip_prefix("<<")?;
    let (tabs, quoted) = match rest.strip_prefix('-') {
        Some(rest) => (LeadingTabs::Removed, rest),
        None => (LeadingTabs::Kept, rest),
    };
    if quoted.is_empty() || quoted.contains('<') {
        return None;
    }
    let name = expand::unquote(quoted).ok().filter(|name| !name.is_empty())?;
    let variables = match name == quoted {
        true => HeredocVariables::Expanded,
        false => HeredocVariables::Literal,
    };
    Some(Heredoc { name, body: String::new(), variables, tabs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: &[(&str, HeredocVariables, LeadingTabs)]) {
        let found: Vec<_> =
            announced(line, '\\').into_iter().map(|h| (h.name, h.variables, h.tabs)).collect();
        let expect: Vec<_> = expect.iter().map(|(n, v, t)| ((*n).to_owned(), *v, *t)).collect();
        assert_eq!(found, expect, "{line:?}");
    }

    #[test]
    fn announcements() {
        use HeredocVariables::{Expanded, Literal};
        use LeadingTabs::{Kept, Removed};
        check("RUN <<EOF", &[("EOF", Expanded, Kept)]);
        check("RUN cat <<A 3<<-'B' > /x", &[("A", Expanded, Kept), ("B", Literal, Removed)]);
        check("COPY <<\"a b\" /x", &[("a b", Literal, Kept)]);
        check("RUN cat <<<x $((1<<2)) \"<<EOF\" << x", &[]);
    }

    #[test]
    fn tabs_are_removed_when_asked() {
        let mut heredoc = announcement("<<-E").unwrap();
        heredoc.body = "\t\ta\n \tb\n".into();
        assert_eq!(heredoc.content(), "a\n \tb\n");
        assert!(heredoc.ends_at("\tE") && !heredoc.ends_at(" E"));
    }
}
