//! Clients of postgres that keep account of what they were promised.
//!
//! Each inserts its own numbers, one after the other, and has its row of a table count them in the same
//! transaction. What was acknowledged must be there, and nothing else but what was on its way when a
//! connection was reset.

use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use crate::{
    network_support::{Net, Place},
    server_support::postgres::Session,
};

/// Who hears nothing for so long has been forgotten; between two tries of TCP as much time may pass as a
/// container was away.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody may be there any more to refuse.
const PATIENCE_AT_THE_DOOR: Duration = Duration::from_millis(1500);

/// A transaction that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub number: u64,
    /// What the row counted then.
    pub count: u64,
    pub sent: Instant,
    pub acknowledged: Instant,
}

/// What one client knows.
#[derive(Debug)]
pub struct Account {
    pub client: u32,
    pub entries: Vec<Entry>,
    /// On their way when a connection was reset, and how that was told.
    pub unknown: Vec<(u64, io::Error)>,
}

/// A client at work.
pub struct Writer {
    stop: Arc<AtomicBool>,
    writing: JoinHandle<Account>,
}

/// A session with the server, as soon as it takes one.
pub fn open(net: &Net, place: Place, target: &str) -> Session {
    let target = target.parse().unwrap();
    net.within(place, move || open_here(target)).join().unwrap()
}

fn open_here(target: SocketAddr) -> Session {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_open(target) {
            Ok(session) => return session,
            Err(error) => assert!(Instant::now() < deadline, "{target}: {error}"),
        }
        sleep(Duration::from_millis(20));
    }
}

fn try_open(target: SocketAddr) -> io::Result<Session> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE_AT_THE_DOOR)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Session::over(stream)
}

/// Makes the tables for so many clients.
pub fn prepare(session: &mut Session, nr_clients: u32) {
    session.ask("CREATE TABLE entries (client int, number int, PRIMARY KEY (client, number))");
    let last = nr_clients - 1;
    session.ask(&format!(
        "CREATE TABLE counts AS SELECT client, 0 AS n FROM generate_series(0, {last}) AS client"
    ));
}

impl Writer {
    pub fn start(net: &Net, client: u32, (place, target): (Place, &str)) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let target: SocketAddr = target.parse().unwrap();
        let work = move || {
            let mut account = Account { client, entries: Vec::new(), unknown: Vec::new() };
            let mut number = 0;
            while !told.load(Ordering::SeqCst) {
                account.write_until_reset(target, &mut number, &told);
            }
            account
        };
        Writer { stop, writing: net.within(place, work) }
    }

    pub fn stop(self) -> Account {
        self.stop.store(true, Ordering::SeqCst);
        self.writing.join().unwrap()
    }
}

impl Account {
    fn write_until_reset(&mut self, target: SocketAddr, number: &mut u64, stop: &AtomicBool) {
        // The server may be away, and then its door is closed.
        let Ok(mut session) = try_open(target) else { return sleep(Duration::from_millis(20)) };
        while !stop.load(Ordering::SeqCst) {
            let (client, sent) = (self.client, Instant::now());
            let answer = session.try_ask(&format!(
                "INSERT INTO entries VALUES ({client}, {number});
                 UPDATE counts SET n = n + 1 WHERE client = {client} RETURNING n"
            ));
            *number += 1;
            let (number, acknowledged) = (*number - 1, Instant::now());
            match answer {
                Ok(rows) => {
                    let count = rows[0].parse().unwrap();
                    self.entries.push(Entry { number, count, sent, acknowledged });
                }
                Err(error) => return self.unknown.push((number, error)),
            }
        }
    }

    /// What the database has of this client; its row must have counted right.
    fn there(&self, session: &mut Session) -> BTreeSet<u64> {
        let client = self.client;
        let query = format!("SELECT number FROM entries WHERE client = {client}");
        let numbers: BTreeSet<u64> =
            session.ask(&query).iter().map(|number| number.parse().unwrap()).collect();
        let counted = session.ask(&format!("SELECT n FROM counts WHERE client = {client}"));
        assert_eq!(
            counted,
            [numbers.len().to_string()],
            "client {client}: a half of a transaction"
        );
        numbers
    }

    /// All is there, and nothing else; and who never lost a connection was always answered right.
    pub fn check(&self, session: &mut Session) {
        let is_right = |entry: &Entry| entry.count == entry.number + 1;
        let wrong = self.entries.iter().find(|entry| !is_right(entry));
        assert!(!self.unknown.is_empty() || wrong.is_none(), "{wrong:?}");
        self.check_but_for(session, |_| true, |_| false);
    }

    /// What must be there is, what must not is not, and what nobody asked for is not either.
    pub fn check_but_for(
        &self,
        session: &mut Session,
        must: impl Fn(&Entry) -> bool,
        must_not: impl Fn(&Entry) -> bool,
    ) {
        let (client, there) = (self.client, self.there(session));
        let lost = self.entries.iter().filter(|e| must(e) && !there.contains(&e.number));
        let lost: Vec<u64> = lost.map(|e| e.number).collect();
        assert!(lost.is_empty(), "client {client}: lost: {lost:?}");
        let back = self.entries.iter().filter(|e| must_not(e) && there.contains(&e.number));
        let back: Vec<u64> = back.map(|e| e.number).collect();
        assert!(back.is_empty(), "client {client}: not gone: {back:?}");
        let known = self.entries.iter().map(|entry| entry.number);
        let known: BTreeSet<u64> =
            known.chain(self.unknown.iter().map(|(number, _)| *number)).collect();
        let strange: Vec<_> = there.difference(&known).collect();
        assert!(strange.is_empty(), "client {client}: written by nobody: {strange:?}");
    }
}

/// The invariant of pgbench: all its sums are the same.
pub fn check_pgbench(session: &mut Session) {
    let sums = session.ask(
        "SELECT sum(abalance) FROM pgbench_accounts UNION ALL SELECT sum(tbalance) FROM pgbench_tellers
         UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL SELECT sum(delta) FROM pgbench_history",
    );
    assert!(sums.len() == 4 && sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
}
