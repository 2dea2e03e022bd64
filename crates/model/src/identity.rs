//! Numbers that mean different things are different types.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A process, thread, group or session id as seen in the root task's pid namespace.
    NsPid(i32)
);
number!(
    /// A descriptor number in a task's table.
    FdNumber(i32)
);
number!(
    /// An open file description; two descriptors with the same id share offset and flags.
    FileId(u32)
);
number!(
    /// A descriptor table; tasks made with `CLONE_FILES` share one.
    TableId(u32)
);
number!(
    /// A pipe or named pipe (its inode number at the freeze).
    PipeId(u32)
);
number!(
    /// A socket (its inode number at the freeze).
    SocketId(u32)
);
number!(
    /// A segment of shared memory: anonymous, memfd or System V.
    SegmentId(u64)
);
number!(
    /// The stored content of a file that has no name any more.
    GhostId(u32)
);
number!(
    /// A terminal; for pseudoterminals `(index << 1) | is_master`.
    TtyId(u32)
);
