//! The end that the container comes to.

use std::io::{Read, Write};

use stasis_engine::{Keeping, Report};

use super::{
    MAX_ROUNDS, arrival,
    protocol::{Hello, Link, Message, VERSION, garbled, unexpected},
};
use crate::{
    checkpoint::{Remade, Remake, StagedRound, Stays, Stored, Wish},
    error::{Error, Result},
    store::{Container, Store},
};

/// A container that came and runs.
#[derive(Clone, Debug)]
pub struct Received {
    pub container: Container,
    pub report: Report,
}

impl Store {
    /// Takes a container from the other end of two streams.
    ///
    /// # Errors
    /// What stood in the way, here or there; nothing is left here.
    pub fn receive(
        &self,
        input: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<Received> {
        let mut link = Link::new(input, output);
        let received = self.take_in(&mut link);
        if let Err(error) = &received {
            if let Err(left) = self.undo_arrivals_of_mine() {
                tracing::warn!("something of it is left here: {left}");
            }
            // Who is gone does not hear it.
            let _ = link.send(&Message::Failed(error.to_string()));
        }
        received
    }

    fn take_in(&self, link: &mut Link<'_>) -> Result<Received> {
        let hello = match link.receive()? {
            Some(Message::Hello(hello)) => hello,
            other => return Err(unexpected(other)),
        };
        self.refuse_early(&hello)?;
        let id = hello.config.rootfs.image();
        let is_missing = id.is_some_and(|id| self.images().find_id(id).is_err());
        let _adding = match hello.image.as_ref().filter(|_| is_missing) {
            Some(offer) => Some(self.take_image(offer, link)?),
            None => None,
        };
        self.find_image(&hello.config)?;
        link.send(&Message::Welcome { version: VERSION })?;
        let mut rounds: Vec<StagedRound> = Vec::new();
        loop {
            match link.receive()? {
                Some(Message::Round(name)) if may_follow(&rounds, &name) => {
                    let unpack = |input: &mut (dyn Read + Send)| {
                        self.checkpoints().unpack_round(input, &name)
                    };
                    rounds.push(link.receive_archive(unpack)?);
                    link.send(&Message::Stored)?;
                }
                Some(Message::Last) => return self.take_over(link, rounds, &hello),
                other => return Err(unexpected(other)),
            }
        }
    }

    /// What would be refused at the end is refused before anything has travelled.
    fn refuse_early(&self, hello: &Hello) -> Result<()> {
        if hello.version != VERSION {
            let version = hello.version;
            return Err(garbled(format!("it speaks version {version}, this end {VERSION}")));
        }
        let name = hello.new_name.as_ref().unwrap_or(&hello.config.name);
        let is_taken = |there: &Container| {
            let is_same = hello.new_name.is_none() && there.config.id == hello.config.id;
            there.config.name == *name || is_same
        };
        if self.list()?.iter().any(is_taken) {
            return Err(Error::invalid(format!(
                "there is a container {name} already: remove it, or give the new one another name"
            )));
        }
        self.refuse_taken_volumes(&hello.config, hello.new_name.as_deref())
    }

    fn take_over(
        &self,
        link: &mut Link<'_>,
        rounds: Vec<StagedRound>,
        hello: &Hello,
    ) -> Result<Received> {
        let staged = link.receive_archive(|input| self.checkpoints().unpack(input, &rounds))?;
        let name = hello.new_name.as_deref();
        let remake = Remake { name, stays: Stays::WhenGivenAway, ..Remake::default() };
        let Remade { container, stored } = self.remake(&staged.stored, &remake)?;
        let keeping = if hello.keeps_connections { Keeping::Everything } else { Keeping::Inner };
        let report = restore(&container, &stored, keeping)?;
        link.send(&Message::Running)?;
        link.expect(&Message::Commit)?;
        arrival::settle(self.home(), &container.config.id)?;
        // Whether it hears this or not: it was told that we keep it.
        let _ = link.send(&Message::Done);
        Ok(Received { container, report })
    }
}

fn may_follow(rounds: &[StagedRound], name: &str) -> bool {
    rounds.len() < MAX_ROUNDS && !rounds.iter().any(|round| round.name() == name)
}

fn restore(container: &Container, stored: &Stored, keeping: Keeping) -> Result<Report> {
    let wish = Wish { keeping, ..Wish::default() };
    container.begin_verified_restore(stored, wish)?.finish()
}
