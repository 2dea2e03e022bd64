//! The loopback device of a new network namespace, which is born down (network_namespaces(7)).

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use crate::error::{Context, Error, Result};

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST_AND_ACK: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// In every network namespace the loopback device is the first.
const LOOPBACK_INDEX: i32 = 1;

/// Brings up the loopback device of the calling thread's network namespace (rtnetlink(7)).
///
/// # Errors
/// [`Error::Refused`] if the kernel says no, for instance without CAP_NET_ADMIN.
pub fn bring_up() -> Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // NETLINK_ROUTE is protocol 0
    )
    .context("open", "a routing socket")?;
    send(&socket, &request(), SendFlags::empty()).context("bring up", "the loopback device")?;
    let mut answer = [0u8; 256];
    let (len, _) = recv(&socket, &mut answer[..], RecvFlags::empty())
        .context("bring up", "the loopback device")?;
    match errno_of(&answer[..len]) {
        Some(0) => Ok(()),
        Some(errno) => {
            Err(std::io::Error::from_raw_os_error(errno)).context("bring up", "the loopback device")
        }
        None => Err(Error::Unsupported("the kernel gave no answer on the loopback device".into())),
    }
}

/// netlink(7) header and `struct ifinfomsg`.
fn request() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_AND_ACK.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend([0u8; 4]);
    message.extend(LOOPBACK_INDEX.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message
}

/// The positive errno of an acknowledgement, 0 for success.
fn errno_of(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_has_the_length_it_tells() {
        assert_eq!(request().len(), 32);
    }

    #[test]
    fn short_answers_are_no_answers() {
        assert_eq!(errno_of(&[0; 10]), None);
    }
}
