//! Handing descriptors to blanks: a socket pair whose one end all blanks of a tree have inherited.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::{
    batch::Batch,
    error::{Error, Result},
};

/// Most descriptors that one message carries (`SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;

/// A blank that was started receives within its first calls.
const PATIENCE: Duration = Duration::from_secs(30);

/// Our end, and the number of the blanks' end in their tables.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    remote: i32,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd, remote: i32) -> Self {
        Channel { socket, remote }
    }

    /// Number of the blanks' end.
    pub fn remote_fd(&self) -> i32 {
        self.remote
    }

    /// Sends descriptors; the blank that executes [`Channel::receive`] next gets them under the lowest
    /// free numbers, in order.
    pub fn send(&self, pid: i32, fds: &[BorrowedFd<'_>]) -> Result<()> {
        assert!(fds.len() <= MAX_FDS, "too many descriptors for one message");
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(fds));
        assert!(fits, "the buffer is made for the largest message");
        rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(b"f")],
            &mut ancillary,
            SendFlags::empty(),
        )
        .map_err(|errno| Error::at(pid, "sendmsg")(stasis_sys::Errno(errno.raw_os_error())))?;
        Ok(())
    }

    /// Waits until all that was sent has been received, so that two blanks that run at the same time do
    /// not take each other's descriptors.
    ///
    /// # Errors
    /// [`Error::Bug`] if nobody takes it for long.
    pub fn wait_until_taken(&self) -> Result<()> {
        let begun = Instant::now();
        while self.is_waiting()? {
            if begun.elapsed() > PATIENCE {
                let what = "nobody takes the descriptors that were sent".into();
                return Err(Error::Bug { pid: 0, what });
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Whether something sent has not been received (unix(7), `SIOCOUTQ`).
    fn is_waiting(&self) -> Result<bool> {
        const SIOCOUTQ: u64 = 0x5411;
        let unread = stasis_sys::ioctl::get_int(self.socket.as_fd(), SIOCOUTQ);
        Ok(unread.map_err(Error::at(0, "ioctl(SIOCOUTQ)"))? > 0)
    }

    /// Adds the call that receives one message.
    pub fn receive(&self, batch: &mut Batch) {
        const RECVMSG: i64 = 47;
        let byte = batch.space(8);
        let control = batch.space(16 + MAX_FDS * 4 + 16);
        let control_len = (16 + MAX_FDS * 4).next_multiple_of(8);
        let iov = batch.space(16);
        let header = batch.space(56);
        batch.pointer(iov, 0, byte);
        batch.word(iov, 1, 1);
        batch.pointer(header, 2, iov);
        batch.word(header, 3, 1);
        batch.pointer(header, 4, control);
        batch.word(header, 5, control_len as u64);
        batch.call("recvmsg", RECVMSG, [self.remote.into(), header.into(), 0.into()]);
    }
}
