//! Talking to the kernel over netlink(7): requests that are acknowledged, dumps, transactions.

use std::{io, os::fd::OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// No answer of the kernel is longer in one piece (`NLMSG_GOODSIZE` and some more).
const BUFFER_BYTES: usize = 128 << 10;
/// setsockopt(2), from the kernel's `asm-generic/socket.h`.
const SOL_SOCKET: i32 = 1;
const SO_SNDBUFFORCE: i32 = 32;
/// A whole rule set goes in one message; the kernel counts some bookkeeping on top.
const SEND_BYTES: i32 = 8 << 20;

/// A connection to one part of the kernel, in the network namespace of the thread that opened it.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// rtnetlink(7): devices, addresses, routes.
    pub fn route() -> io::Result<Netlink> {
        Netlink::open(None)
    }

    /// The packet filter.
    pub fn netfilter() -> io::Result<Netlink> {
        Netlink::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<rustix::net::Protocol>) -> io::Result<Netlink> {
        let family = AddressFamily::NETLINK;
        let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// A number that no other socket has.
    ///
    /// # Errors
    /// The kernel's.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.socket)?.st_ino)
    }

    /// Sends one request with these flags besides the usual ones, and waits for what the kernel says.
    ///
    /// # Errors
    /// The kernel's.
    pub fn request<M>(&mut self, message: M, flags: u16) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let sequence = self.send(vec![(message, NLM_F_REQUEST | NLM_F_ACK | flags)])?;
        self.acknowledged::<M>(sequence)
    }

    /// Sends all messages in one piece, of which the last but one is acknowledged: the last one ends
    /// the transaction.
    ///
    /// # Errors
    /// The first one of the kernel's; then nothing of the transaction has come true.
    pub fn transaction<M>(&mut self, messages: Vec<(M, u16)>) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        stasis_sys::socket::set_int(
            std::os::fd::AsFd::as_fd(&self.socket),
            SOL_SOCKET,
            SO_SNDBUFFORCE,
            SEND_BYTES,
        )?;
        let at = messages.len().saturating_sub(2);
        let with_flags = |(index, (message, flags)): (usize, (M, u16))| {
            let acknowledge = if index == at { NLM_F_ACK } else { 0 };
            (message, NLM_F_REQUEST | acknowledge | flags)
        };
        let last = self.send(messages.into_iter().enumerate().map(with_flags).collect())?;
        self.acknowledged::<M>(last - 1)
    }

    /// Asks for all objects of a kind.
    ///
    /// # Errors
    /// The kernel's.
    pub fn dump<M>(&mut self, message: M) -> io::Result<Vec<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        self.send(vec![(message, NLM_F_REQUEST | NLM_F_DUMP)])?;
        let mut found = Vec::new();
        loop {
            for answer in self.receive::<M>()? {
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    _ => {}
                }
            }
        }
    }

    /// Gives the sequence number of the last one.
    fn send<M: NetlinkSerializable>(&mut self, messages: Vec<(M, u16)>) -> io::Result<u32> {
        let mut bytes = Vec::new();
        for (message, flags) in messages {
            self.sequence += 1;
            let mut header = NetlinkHeader::default();
            header.flags = flags;
            header.sequence_number = self.sequence;
            let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len(), 0);
            message.serialize(&mut bytes[start..]);
        }
        send(&self.socket, &bytes, SendFlags::empty())?;
        Ok(self.sequence)
    }

    fn acknowledged<M: NetlinkDeserializable>(&mut self, sequence: u32) -> io::Result<()> {
        loop {
            for answer in self.receive::<M>()? {
                match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    NetlinkPayload::Error(_) if answer.header.sequence_number == sequence => {
                        return Ok(());
                    }
                    _ => {}
                }
            }
        }
    }

    /// What the kernel sends in one piece. Messages of kinds that are not understood are passed over.
    fn receive<M: NetlinkDeserializable>(&mut self) -> io::Result<Vec<NetlinkMessage<M>>> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let (len, _) =
            rustix::io::retry_on_intr(|| recv(&self.socket, &mut buffer[..], RecvFlags::empty()))?;
        let mut rest = &buffer[..len];
        let mut messages = Vec::new();
        while let Some(message_len) = first_len(rest) {
            messages.extend(NetlinkMessage::deserialize(&rest[..message_len]).ok());
            rest = rest.get(message_len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(messages)
    }
}

/// Length of the first message as it tells itself, if it is there.
fn first_len(bytes: &[u8]) -> Option<usize> {
    let told = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    (16..=bytes.len()).contains(&told).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_messages_end_the_answer() {
        assert_eq!(first_len(&[]), None);
        assert_eq!(first_len(&[17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(first_len(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(first_len(&[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Some(16));
    }
}
