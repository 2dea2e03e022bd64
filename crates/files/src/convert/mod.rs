//! A tree as messages and messages as a tree; for each kind of object `encode` and `decode` stand
//! side by side.

mod cgroup;
mod credentials;
mod descriptors;
mod epoll;
mod events;
mod facts;
mod file_lock;
mod inet_socket;
mod inotify;
mod inventory;
mod memory;
mod mounts;
mod namespaces;
mod open_file;
mod owner;
mod packets;
mod path_file;
mod pipes;
mod process;
mod processor;
mod registers;
mod remap;
mod seccomp;
mod segments;
mod signals;
mod socket_options;
mod source;
mod system_v;
mod tcp_stream;
mod terminals;
mod thread;
mod timers;
mod tree;
mod unix_socket;

pub use facts::{Facts, IdMap, IpcSysctls, SecurityModule};
pub(crate) use mounts::tmpfs_file;
pub use namespaces::namespace_id;
pub(crate) use remap::{ghost_entry, ghost_file};
pub use source::Source;
pub(crate) use tcp_stream::{MAX_HEAD as MAX_TCP_STREAM_HEAD, tcp_stream_entry, tcp_stream_file};
pub use tree::{decode, encode};
