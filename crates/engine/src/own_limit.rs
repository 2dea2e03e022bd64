//! Our own limit of open descriptors: we have those of a whole tree open.

use rustix::{
    fs::{Mode, OFlags},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use stasis_tracee::ProcDir;

/// Raises the soft limit to the hard one until it is dropped.
pub struct Raised {
    before: Rlimit,
}

/// For several restores at a time: a checkpoint or restore alone raises it by itself.
pub fn raise() -> Raised {
    let before = getrlimit(Resource::Nofile);
    set(&Rlimit { current: before.maximum, maximum: before.maximum });
    make_room();
    Raised { before }
}

/// Makes our table of descriptors large as long as we are alone: the kernel makes a process of several
/// threads wait ten milliseconds and more whenever its table grows (`synchronize_rcu` in `expand_fdtable`).
fn make_room() {
    const MANY: i32 = 4096;
    let me = ProcDir::open(std::process::id().cast_signed());
    let alone = me.and_then(|me| me.nr_threads()).is_ok_and(|nr_threads| nr_threads == 1);
    if alone && let Ok(any) = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        // What is opened here is closed again; a limit below that number leaves things as they were.
        let _ = rustix::io::fcntl_dupfd_cloexec(&any, MANY);
    }
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
