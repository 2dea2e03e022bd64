//! The end that the container leaves.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use stasis_engine::{CheckpointOptions, FrozenConnections, Report, Since, Tracking};
use stasis_model::Loss;

use super::{
    MAX_ROUNDS, RoundFigures,
    protocol::{Hello, Link, Message, Offer, VERSION, garbled, unexpected},
};
use crate::{
    attach::Session,
    checkpoint::{Compression, Moving},
    connection_lock::Momentary,
    error::{Error, Result},
    frame::Frame,
    keeper::Keepers,
    state::State,
    store::Container,
};

const KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// How a container is moved.
#[derive(Clone, Debug)]
pub struct Migrate<'a> {
    /// Most rounds of memory while it runs, at least one.
    pub max_rounds: usize,
    /// A round that wrote less was the last one.
    pub enough_bytes: u64,
    pub compression: Compression,
    /// What it shall be called there, as a new container.
    pub new_name: Option<&'a str>,
    /// TCP connections go along: its address must be there. Else their peers hear of their end.
    pub keeps_connections: bool,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Migrated {
    pub report: Report,
    pub rounds: Vec<RoundFigures>,
    /// From the stop here to the news that it runs there.
    pub downtime: Duration,
    /// Over the wire, all together.
    pub bytes_sent: u64,
    /// Of these before the first round: who it is, and its image if that was missing.
    pub bytes_sent_of_image: u64,
    /// Of these while it stood still.
    pub bytes_sent_stopped: u64,
}

impl Container {
    /// Moves the container to the other end of two streams; here it has stopped then.
    ///
    /// `tell` hears of each round as it ends.
    ///
    /// # Errors
    /// What stood in the way, here or there: the container runs on here.
    pub fn migrate(
        &self,
        migrate: &Migrate<'_>,
        (input, output): (&mut (dyn Read + Send), &mut (dyn Write + Send)),
        tell: &mut dyn FnMut(usize, &RoundFigures),
    ) -> Result<Migrated> {
        let mut link = Link::new(input, output);
        let sent = self.send(migrate, &mut link, tell);
        if let Err(error) = &sent {
            // The one who has failed says so; who is gone does not hear it.
            let _ = link.send(&Message::Failed(error.to_string()));
        }
        sent
    }

    fn send(
        &self,
        migrate: &Migrate<'_>,
        link: &mut Link<'_>,
        tell: &mut dyn FnMut(usize, &RoundFigures),
    ) -> Result<Migrated> {
        let _lock = self.command_lock()?;
        let _no_probe = self.probe_lock()?;
        let state = self.state()?;
        self.refuse_unfit(&state)?;
        self.introduce(migrate, link)?;
        let before_rounds = link.bytes_sent;
        let init = state.init.as_ref().map_or(0, |init| init.pid);
        drop(Keepers::new(&self.home).take(init)?);
        let mut moving = Moving::begin(self, &state)?;
        let mut rounds = Vec::new();
        let mut since = None;
        while goes_on(migrate, &rounds) {
            let number = rounds.len() + 1;
            let (figures, tracking) =
                self.send_round(&mut moving, number, since, (migrate, link))?;
            since = moving.since(tracking);
            tell(number, &figures);
            rounds.push(figures);
        }
        let mut session = Session::connect(self)?;
        session.ask(&Frame::Hold)?;
        self.update(|state| state.stop_requested = true)?;
        let before = link.bytes_sent;
        let handed = self.hand_over(&moving, since, (&state, &mut session), (migrate, link));
        if handed.is_err() {
            self.update(|now| now.stop_requested = state.stop_requested)?;
        }
        let (report, downtime) = handed?;
        match self.wait_down(&state, KILL_TIMEOUT) {
            // It was started with --rm.
            Err(Error::NoSuchContainer(_)) => {}
            ended => ended?,
        }
        // Not before the container has stopped: to the monitor it would look as if we had died.
        drop(session);
        Ok(Migrated {
            report,
            rounds,
            downtime,
            bytes_sent: link.bytes_sent,
            bytes_sent_of_image: before_rounds,
            bytes_sent_stopped: link.bytes_sent - before,
        })
    }

    fn introduce(&self, migrate: &Migrate<'_>, link: &mut Link<'_>) -> Result<()> {
        let image = self.image()?;
        let greeted = link.send(&Message::Hello(Box::new(Hello {
            version: VERSION,
            config: self.config.clone(),
            new_name: migrate.new_name.map(str::to_owned),
            image: image.as_ref().map(Offer::of),
            keeps_connections: migrate.keeps_connections,
        })));
        let mut answer = link.receive()?;
        while let Some(Message::Want(digest)) = &answer {
            self.send_content(image.as_ref(), digest, link)?;
            answer = link.receive()?;
        }
        // Who ends before it has listened gives no better reason than that.
        match answer.filter(|_| greeted.is_ok()) {
            Some(Message::Welcome { version: VERSION }) => Ok(()),
            Some(Message::Welcome { version }) => {
                Err(garbled(format!("it speaks version {version}, this end {VERSION}")))
            }
            None => Err(Error::invalid("the other end has ended before it said a word")),
            other => Err(unexpected(other)),
        }
    }

    fn send_round(
        &self,
        moving: &mut Moving<'_>,
        number: usize,
        since: Option<Since>,
        (migrate, link): (&Migrate<'_>, &mut Link<'_>),
    ) -> Result<(RoundFigures, Tracking)> {
        let (begun, before) = (Instant::now(), link.bytes_sent);
        let name = format!("round-{number}");
        let (report, tracking) = moving.take_round(&name, since)?;
        link.send(&Message::Round(name.clone()))?;
        link.send_archive(|out| moving.write_round(&name, migrate.compression, out))?;
        link.expect(&Message::Stored)?;
        let figures = RoundFigures {
            nr_pages: report.stats.nr_pages,
            nr_unchanged: report.stats.nr_unchanged,
            bytes_sent: link.bytes_sent - before,
            took: begun.elapsed(),
            stopped: report.stats.stopped,
        };
        Ok((figures, tracking))
    }

    /// Stops the container, sends the rest, and ends it here when it runs there.
    fn hand_over(
        &self,
        moving: &Moving<'_>,
        since: Option<Since>,
        (state, session): (&State, &mut Session),
        (migrate, link): (&Migrate<'_>, &mut Link<'_>),
    ) -> Result<(Report, Duration)> {
        let images_dir = moving.images_dir()?;
        let mut runs_since = None;
        let mut while_stopped =
            |lost: &[Loss]| -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
                let losses: Vec<String> = lost.iter().map(ToString::to_string).collect();
                moving.write_surroundings(session, &losses)?;
                link.send(&Message::Last)?;
                link.send_archive(|out| moving.write_last(migrate.compression, out))?;
                link.expect(&Message::Running)?;
                runs_since = Some(Instant::now());
                commit(link)?;
                Ok(())
            };
        let report = stasis_engine::checkpoint(CheckpointOptions {
            root: state.init.as_ref().map_or(0, |init| init.pid),
            images_dir,
            fate: stasis_engine::Fate::Kill,
            shell_job: false,
            externals: self.externals(state)?,
            deadline: None,
            connections: match migrate.keeps_connections {
                true => FrozenConnections::Kept(&Momentary),
                false => FrozenConnections::Parted(&Momentary),
            },
            since,
            while_stopped: Some(&mut while_stopped),
        })?;
        let since_then = runs_since.map_or(Duration::ZERO, |runs: Instant| runs.elapsed());
        let downtime = report.stats.stopped.saturating_sub(since_then);
        Ok((report, downtime))
    }
}

/// The other end keeps it from here on.
fn commit(link: &mut Link<'_>) -> Result<()> {
    link.send(&Message::Commit)?;
    link.expect(&Message::Done).map_err(|error| {
        Error::invalid(format!(
            "{error}, in the moment of handing over: the container runs on here, and may run at the \
             other end as well: look there, and stop one of them"
        ))
    })
}

/// Rounds are worth it as long as each has much less to write than the one before.
fn goes_on(migrate: &Migrate<'_>, rounds: &[RoundFigures]) -> bool {
    const PAGE_BYTES: u64 = 4096;
    match rounds {
        [] => true,
        _ if rounds.len() >= migrate.max_rounds.min(MAX_ROUNDS) => false,
        [.., last] if last.nr_pages * PAGE_BYTES <= migrate.enough_bytes => false,
        [.., before, last] => last.nr_pages * 4 < before.nr_pages * 3,
        [_] => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pages: &[u64], expect: bool) {
        let migrate = Migrate {
            max_rounds: 4,
            enough_bytes: 10 * 4096,
            compression: Compression::None,
            new_name: None,
            keeps_connections: false,
        };
        let round = |nr_pages: &u64| RoundFigures {
            nr_pages: *nr_pages,
            nr_unchanged: 0,
            bytes_sent: 0,
            took: Duration::ZERO,
            stopped: Duration::ZERO,
        };
        let rounds: Vec<RoundFigures> = pages.iter().map(round).collect();
        assert_eq!(goes_on(&migrate, &rounds), expect, "{pages:?}");
    }

    #[test]
    fn rounds_end_when_they_are_small_or_no_smaller() {
        check(&[], true);
        check(&[1000], true);
        check(&[10], false);
        check(&[1000, 500], true);
        check(&[1000, 900], false);
        check(&[1000, 500, 5], false);
        check(&[1000, 500, 100, 50], false);
    }
}
