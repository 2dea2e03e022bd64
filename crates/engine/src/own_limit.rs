//! Our own limit of open descriptors: we have those of a whole tree open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one until it is dropped.
pub struct Raised {
    before: Rlimit,
}

/// For several restores at a time: a checkpoint or restore alone raises it by itself.
pub fn raise() -> Raised {
    let before = getrlimit(Resource::Nofile);
    set(&Rlimit { current: before.maximum, maximum: before.maximum });
    Raised { before }
}

impl Drop for Raised {
    fn drop(&mut self) {
        set(&self.before);
    }
}

fn set(limit: &Rlimit) {
    // Without success we may run out of descriptors, and then say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { ..*limit });
}
