//! What a run waits for (poll(2)), and what it does about it.

use std::{os::fd::AsFd, thread::sleep, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Client, Run};
use crate::{frame::Frame, state::Status};

/// What to look after when poll(2) returns.
#[derive(Clone, Copy, Debug)]
enum Source {
    Command,
    Launcher,
    Status,
    Init,
    Listener,
    Children,
    Input,
    Output(usize),
    Client(usize),
}

impl Run {
    /// Waits until there is something to do, and does it.
    pub(super) fn look_after_what_is_ready(&mut self) {
        for source in self.wait() {
            self.look_after(source);
        }
    }

    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Init, Source::Listener, Source::Children];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.init_fd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.children.as_fd(), PollFlags::IN),
        ];
        let mut watch = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if let Some(command) = self.command.as_ref().filter(|command| !command.is_gone) {
            watch(Source::Command, command.control.as_fd(), PollFlags::IN);
        }
        if let Some(launcher) = self.launcher.as_ref().filter(|_| self.is_released) {
            watch(Source::Launcher, launcher.as_fd(), PollFlags::IN);
        }
        if let Some(status) = &self.status {
            watch(Source::Status, status.as_fd(), PollFlags::IN);
        }
        if let Some(input) = self.streams.input_fd() {
            watch(Source::Input, input, PollFlags::OUT);
        }
        if !self.clients.iter().any(Client::is_behind) {
            for (index, output) in self.streams.output_fds().enumerate() {
                watch(Source::Output(index), output, PollFlags::IN);
            }
        }
        let takes_input = self.streams.takes_input();
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, takes_input);
            flags.set(PollFlags::OUT, client.has_pending());
            watch(Source::Client(index), client.fd(), flags);
        }
        // A console that nobody has open reports a hang-up all the time.
        let hung_up = |fd: &PollFd| fd.revents() == PollFlags::HUP;
        match poll(&mut fds, None::<&Timespec>) {
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
        let ready: Vec<(Source, bool)> = sources
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, fd)| (source, hung_up(fd)))
            .collect();
        if ready.iter().all(|(source, hung_up)| matches!(source, Source::Output(_)) && *hung_up) {
            sleep(Duration::from_millis(10));
        }
        // Outputs that end are forgotten, which moves those behind them: the last one first.
        ready.into_iter().map(|(source, _)| source).rev().collect()
    }

    fn look_after(&mut self, source: Source) {
        match source {
            Source::Command => self.obey(),
            Source::Launcher => self.hear_launcher(),
            Source::Status => self.read_status(),
            Source::Init => {
                self.reap();
                if self.exit.is_none() {
                    // Whoever traces it has to take note of its end first.
                    sleep(Duration::from_millis(1));
                }
            }
            Source::Listener => self.welcome(),
            Source::Children => {
                self.children.heard();
                self.reap();
            }
            Source::Input => self.streams.write_input(),
            Source::Output(index) => {
                if let Some((stream, bytes)) = self.streams.read_output(index) {
                    self.publish(stream, &bytes);
                }
            }
            Source::Client(index) => self.listen_to(index),
        }
    }

    fn welcome(&mut self) {
        if let Ok((stream, _)) = self.listener.accept() {
            self.clients.extend(Client::new(stream));
        }
    }

    fn listen_to(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.flush();
        for frame in client.receive() {
            match frame {
                Frame::Input(bytes) => self.streams.push_input(&bytes),
                Frame::InputEnd => self.streams.end_input(),
                Frame::Resize(size) => self.streams.resize(size),
                _ => {}
            }
        }
        self.streams.write_input();
    }

    /// A client that was freezing the container and died must leave it neither frozen nor as one that
    /// the user stopped.
    pub(super) fn forget_gone_clients(&mut self) {
        let held = self.clients.iter().any(|client| client.is_gone && client.holds);
        self.clients.retain(|client| !client.is_gone);
        if !held || self.exit.is_some() {
            return;
        }
        let undone = self.container.update(|state| {
            state.stop_requested = false;
            state.saved = None;
            state.status
        });
        if undone.is_ok_and(|status| status != Status::Paused) && self.cgroup.is_frozen() {
            let _ = self.cgroup.thaw();
        }
    }
}
