//! Sockets.

use std::path::PathBuf;

use crate::{FileId, SocketId};

/// Options of all sockets, socket(7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// As read, that is doubled by the kernel.
    pub send_buffer: u32,
    pub receive_buffer: u32,
    /// Seconds and microseconds.
    pub send_timeout: (u64, u64),
    pub receive_timeout: (u64, u64),
    pub reuse_address: bool,
    pub reuse_port: bool,
    pub priority: Option<u32>,
    pub receive_low_water: Option<u32>,
    pub mark: Option<u32>,
    pub pass_credentials: bool,
    pub pass_security: bool,
    pub dont_route: bool,
    pub no_check: bool,
    pub bound_device: Option<Vec<u8>>,
    /// `SO_ATTACH_FILTER`, one word an instruction.
    pub filter: Vec<u64>,
    pub broadcast: bool,
    pub keep_alive: bool,
    pub out_of_band_inline: Option<u32>,
    /// Seconds, if lingering is on.
    pub linger: Option<u32>,
    pub buffer_lock: Option<u32>,
    /// Options that are an `int`, of any level, and not as in a new socket.
    pub further: Vec<FurtherOption>,
}

/// getsockopt(2): an option by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FurtherOption {
    pub level: i32,
    pub name: i32,
    pub value: i32,
}

/// The kernel's TCP state numbers, used for all sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    Established,
    Closed,
    Listening,
    /// Any other TCP state, by the kernel's number.
    Other(u32),
}

impl SocketState {
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => SocketState::Established,
            7 => SocketState::Closed,
            10 => SocketState::Listening,
            other => SocketState::Other(other),
        }
    }

    pub fn number(self) -> u32 {
        match self {
            SocketState::Established => 1,
            SocketState::Closed => 7,
            SocketState::Listening => 10,
            SocketState::Other(other) => other,
        }
    }
}

/// unix(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    pub socket: SocketId,
    /// `SOCK_STREAM` 1, `SOCK_DGRAM` 2, `SOCK_SEQPACKET` 5.
    pub socket_type: u32,
    pub state: SocketState,
    /// For a listening socket its backlog.
    pub backlog: u32,
    /// For a connection that was not yet accepted: the listening socket.
    pub peer: Option<SocketId>,
    pub options: SocketOptions,
    pub name: Option<UnixName>,
    /// `SHUT_*` bits: 1 no more reading, 2 no more writing.
    pub shutdown: u32,
    /// Bits as CRIU has them: 1 the peer is outside the tree.
    pub foreign_flags: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixName {
    /// Raw bytes of `sun_path`, as bound; abstract names start with a NUL.
    pub bytes: Vec<u8>,
    /// Directory that a relative name is relative to.
    pub directory: Option<PathBuf>,
    /// The socket file was unlinked.
    pub deleted: bool,
    /// Mode, owner and group of the socket file.
    pub permissions: Option<(u32, u32, u32)>,
}

/// One message in a receive queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPacket {
    /// The socket that will read it.
    pub receiver: FileId,
    pub data: Vec<u8>,
    pub ancillary: Ancillary,
    /// Address of the sender, for datagrams; raw `sun_path` bytes.
    pub sender: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ancillary {
    /// `SCM_RIGHTS`
    pub files: Vec<FileId>,
}

/// ip(7), ipv6(7): TCP and UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InetSocket {
    pub socket: SocketId,
    /// `AF_INET` 2 or `AF_INET6` 10.
    pub family: u32,
    pub socket_type: u32,
    pub protocol: u32,
    pub state: SocketState,
    pub local_port: u16,
    pub remote_port: u16,
    /// Four or sixteen bytes in network order.
    pub local_address: Vec<u8>,
    pub remote_address: Vec<u8>,
    pub backlog: u32,
    pub options: SocketOptions,
    pub v6_only: bool,
    pub ip: IpOptions,
    pub tcp: Option<TcpOptions>,
    /// Interface of a scoped IPv6 address.
    pub interface: Option<Vec<u8>>,
    pub shutdown: u32,
    /// What a TCP connection is beside its two ends. Without it, a TCP socket with a remote port is
    /// one whose connection ends with the checkpoint.
    pub connection: Option<TcpConnection>,
}

impl InetSocket {
    /// Has it, or had it, a peer on the other side of a TCP connection?
    pub fn is_connection(&self) -> bool {
        const SOCK_STREAM: u32 = 1;
        self.socket_type == SOCK_STREAM && self.remote_port != 0
    }
}

/// The state of a TCP connection, as `TCP_REPAIR` gives it (tcp(7)). Contents of queues are elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConnection {
    /// What comes next from the peer; a FIN that was received counts.
    pub receive_sequence: u32,
    /// What comes next after all that is in the send queue; a FIN of ours counts.
    pub send_sequence: u32,
    /// Received and not yet read.
    pub received_bytes: u32,
    /// Sent and not acknowledged, or not yet sent.
    pub outgoing_bytes: u32,
    /// How many of those, at their end, were not yet sent.
    pub unsent_bytes: u32,
    /// Largest segment, bytes.
    pub mss: u32,
    pub selective_acks: bool,
    /// Shifts of the peer's window and of ours.
    pub window_scale: Option<(u8, u8)>,
    /// The clock in our segments, if both sides use timestamps.
    pub timestamp: Option<u32>,
    pub window: Option<TcpWindow>,
}

/// `TCP_REPAIR_WINDOW`, with the kernel's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpWindow {
    pub snd_wl1: u32,
    pub snd_wnd: u32,
    pub max_window: u32,
    pub rcv_wnd: u32,
    pub rcv_wup: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpOptions {
    pub freebind: bool,
    pub packet_info: bool,
    pub tos: Option<u32>,
    pub ttl: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    pub cork: bool,
    pub no_delay: bool,
    pub keep_count: Option<u32>,
    /// Seconds.
    pub keep_idle: Option<u32>,
    /// Seconds.
    pub keep_interval: Option<u32>,
}
