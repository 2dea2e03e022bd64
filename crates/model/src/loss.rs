//! What stands in the way of a checkpoint, and what it leaves out.

use std::fmt;

/// Something that cannot be preserved; the checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    pub subject: Subject,
    /// What it is and why it cannot be kept, in small letters.
    pub reason: String,
    /// What the user can do.
    pub hint: Option<String>,
    pub stands: Standing,
}

impl Obstacle {
    /// One that stands until somebody does something about it.
    pub fn lasting(subject: Subject, reason: impl Into<String>, hint: Option<&str>) -> Obstacle {
        let hint = hint.map(str::to_owned);
        Obstacle { subject, reason: reason.into(), hint, stands: Standing::Lasting }
    }
}

/// How long an obstacle stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Lasting,
    /// It is gone in a moment as a rule, such as what is shared between vfork(2) and execve(2).
    Passing,
}

/// Something that the checkpoint leaves out, told by name; the checkpoint goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub subject: Subject,
    pub reason: String,
}

/// The object in the user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Task {
        pid: i32,
        name: String,
    },
    Descriptor {
        pid: i32,
        name: String,
        fd: i32,
        target: String,
    },
    Mapping {
        pid: i32,
        name: String,
        start: u64,
        end: u64,
        target: String,
    },
    /// Something that belongs to no task, by its kind and name.
    Named(String),
    Tree,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Task { pid, name } => write!(f, "task {pid} ({name})"),
            Subject::Descriptor { pid, name, fd, target } => {
                write!(f, "task {pid} ({name}), descriptor {fd}: {target}")
            }
            Subject::Mapping { pid, name, start, end, target } => {
                write!(f, "task {pid} ({name}), mapping {start:x}-{end:x}")?;
                if target.is_empty() { Ok(()) } else { write!(f, " {target}") }
            }
            Subject::Named(name) => f.write_str(name),
            Subject::Tree => f.write_str("the tree"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}
