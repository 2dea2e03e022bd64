//! Two hundred requests a second, sent when they are due whatever became of those before: one half on
//! connections that are kept, the other half each on a new one.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::network_support::{Net, Place};

const NR_KEPT: u32 = 8;
const PERIOD_OF_KEPT: Duration = Duration::from_millis(80);
const PERIOD_OF_FRESH: Duration = Duration::from_millis(10);
/// Who hears nothing for so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    KeptConnection,
    FreshConnection,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Right,
    /// The connection was reset or refused, or there was no way: the client knows that it has no answer.
    Told(ErrorKind),
    /// Somebody else's answer, none in time, or a connection that ended as if that were all.
    Wrong(String),
}

#[derive(Clone, Debug)]
pub struct Request {
    pub sent: Instant,
    pub ended: Instant,
    pub on: On,
    pub outcome: Outcome,
}

/// What all clients share.
struct Shared {
    target: SocketAddr,
    stop: AtomicBool,
    next: AtomicU64,
    requests: Mutex<Vec<Request>>,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    conductor: JoinHandle<()>,
}

impl Load {
    /// Starts to ask a server that answers each path with itself.
    pub fn start(net: &Net, place: Place, target: &str) -> Load {
        let shared = Arc::new(Shared {
            target: target.parse().unwrap(),
            stop: AtomicBool::new(false),
            next: AtomicU64::new(0),
            requests: Mutex::new(Vec::new()),
        });
        let clients = Arc::clone(&shared);
        Load { shared, conductor: net.within(place, move || conduct(&clients)) }
    }

    /// Sends no more, waits for what is owed, and gives the requests in the order of their ends.
    pub fn stop(self) -> Vec<Request> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.conductor.join().unwrap();
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

fn conduct(shared: &Arc<Shared>) {
    let mut clients = Vec::new();
    for number in 0..NR_KEPT {
        let shared = Arc::clone(shared);
        clients.push(thread::spawn(move || {
            let mut due = Instant::now() + PERIOD_OF_KEPT / NR_KEPT * number;
            let mut connection = None;
            while shared.wait_until(&mut due, PERIOD_OF_KEPT) {
                shared.ask(&mut connection, On::KeptConnection);
            }
        }));
    }
    let mut due = Instant::now();
    while shared.wait_until(&mut due, PERIOD_OF_FRESH) {
        let shared = Arc::clone(shared);
        clients.push(thread::spawn(move || shared.ask(&mut None, On::FreshConnection)));
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
}

impl Shared {
    /// Waits for the time of a request, if there is to be one, and sets that of the next.
    fn wait_until(&self, due: &mut Instant, period: Duration) -> bool {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        *due += period;
        !self.stop.load(Ordering::SeqCst)
    }

    fn ask(&self, connection: &mut Option<BufReader<TcpStream>>, on: On) {
        let sent = Instant::now();
        let path = format!("/{}", self.next.fetch_add(1, Ordering::SeqCst));
        let outcome = match self.exchange(connection, &path) {
            Ok(answer) if answer == path => Outcome::Right,
            Ok(answer) => Outcome::Wrong(format!("{path} was answered by {answer}")),
            Err(error) => {
                *connection = None;
                use ErrorKind::{
                    BrokenPipe, ConnectionRefused, ConnectionReset, HostUnreachable,
                    NetworkUnreachable,
                };
                match error.kind() {
                    // A container that is away has no network: who asks anew then is told so.
                    kind @ (BrokenPipe | ConnectionRefused | ConnectionReset | HostUnreachable
                    | NetworkUnreachable) => Outcome::Told(kind),
                    kind => Outcome::Wrong(format!("{path}: {kind:?}: {error}")),
                }
            }
        };
        let request = Request { sent, ended: Instant::now(), on, outcome };
        self.requests.lock().unwrap().push(request);
    }

    fn exchange(
        &self,
        connection: &mut Option<BufReader<TcpStream>>,
        path: &str,
    ) -> io::Result<String> {
        let stream = match connection {
            Some(stream) => stream,
            None => connection.insert(BufReader::new(self.connect()?)),
        };
        write!(stream.get_mut(), "GET {path} HTTP/1.1\r\nHost: server\r\n\r\n")?;
        let mut len = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => len = value.parse().unwrap(),
                None if line == "\r\n" => break,
                None if line.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.target, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}
