//! How an image tells what it was made by: in BuildKit's words, which tools know.

use stasis_dockerfile::{ArgDeclaration, Copy, Pair, Script, Source, Transfer};

/// What BuildKit writes behind steps that change files.
const CHANGES_FILES: &str = "# buildkit";
/// BuildKit's mark of its front end.
pub(crate) const COMMENT: &str = "buildkit.dockerfile.v0";

/// `["a" "b"]`
pub(crate) fn quoted(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" "))
}

pub(crate) fn pairs(keyword: &str, pairs: &[Pair]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|p| format!("{}={}", p.key, p.value)).collect();
    format!("{keyword} {}", pairs.join(" "))
}

pub(crate) fn declarations(list: &[ArgDeclaration]) -> String {
    let list: Vec<String> = list
        .iter()
        .map(|arg| match &arg.default {
            Some(value) => format!("{}={value}", arg.name),
            None => arg.name.clone(),
        })
        .collect();
    format!("ARG {}", list.join(" "))
}

pub(crate) fn workdir(path: &str) -> String {
    format!("WORKDIR {path}")
}

pub(crate) fn copy(copy: &Copy) -> String {
    transfer("COPY", &copy.transfer)
}

pub(crate) fn transfer(keyword: &str, transfer: &Transfer) -> String {
    let mut words = vec![keyword.to_owned()];
    words.extend(transfer.owner.iter().map(|owner| format!("--chown={owner}")));
    words.extend(transfer.mode.iter().map(|mode| format!("--chmod={mode}")));
    words.extend(transfer.sources.iter().map(|source| match source {
        Source::Path(path) => path.clone(),
        Source::Inline(heredoc) => format!("<<{}", heredoc.name),
    }));
    words.extend([transfer.destination.clone(), CHANGES_FILES.to_owned()]);
    words.join(" ")
}

/// Arguments are told by number and value, since they are part of what was executed.
pub(crate) fn run(script: &Script, shell: &[String], args: &[(String, String)]) -> String {
    let mut words = vec!["RUN".to_owned()];
    if !args.is_empty() {
        words.push(format!("|{}", args.len()));
        words.extend(args.iter().map(|(name, value)| format!("{name}={value}")));
    }
    match script {
        Script::Shell(text) => words.extend(shell.iter().chain([text]).cloned()),
        Script::Program(text) => words.push(text.clone()),
        Script::Exec(command) => words.extend(command.iter().cloned()),
    }
    words.push(CHANGES_FILES.to_owned());
    words.join(" ")
}
