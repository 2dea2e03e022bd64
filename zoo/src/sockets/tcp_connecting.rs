//! A connection that is not there yet: a process outside the tree listens, and has so many waiting that
//! it answers nobody for now.

use std::{fs, io::{ErrorKind::ConnectionRefused, Read, Write}, net::{SocketAddr, TcpListener, TcpStream}};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{AddressFamily, SocketType, connect, listen, socket},
};

use crate::prelude::*;

pub const GOAL: &str = "who was about to connect goes on with that";
pub const KIND: Kind = Kind::Survives;

const SYN_SENT: u8 = 2;

pub fn run(stage: &Stage) -> Verdict {
    super::stranger(stage, peer)?;
    stage.wait_for("port")?;
    let port: u16 = fs::read_to_string(stage.path("port"))?.trim().parse()?;
    let mut stream = TcpStream::from(socket(AddressFamily::INET, SocketType::STREAM, None)?);
    stream.set_nonblocking(true)?;
    let begun = connect(&stream, &SocketAddr::from(([127, 0, 0, 1], port)));
    ensure!(begun == Err(rustix::io::Errno::INPROGRESS), "{begun:?}");
    ensure!(super::tcp_state(&stream)? == SYN_SENT, "{}", super::tcp_state(&stream)?);
    stage.pause()?;
    stage.wait_until("the connection", || {
        let mut polled = [PollFd::new(&stream, PollFlags::OUT)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut polled, Some(&now))? == 1)
    })?;
    ensure!(stream.take_error()?.map(|error| error.kind()) != Some(ConnectionRefused), "refused");
    stream.set_nonblocking(false)?;
    stream.write_all(b"x")?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    ensure!(answer == *b"y", "{answer:?}");
    Ok(())
}

/// Takes nobody before the test says go; answers who sends something.
fn peer(stage: &Stage) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listen(&listener, 0)?;
    let address = listener.local_addr()?;
    // One may wait although none may.
    let _waiting = TcpStream::connect(address)?;
    stage.mark_with("port", &address.port().to_string())?;
    stage.wait_for("go")?;
    loop {
        let (mut stream, _) = listener.accept()?;
        std::thread::spawn(move || {
            if let Ok(1) = stream.read(&mut [0]) {
                let _ = stream.write_all(b"y");
            }
        });
    }
}
