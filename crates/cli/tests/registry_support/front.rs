//! A server in front of a registry that lets requests pass, answers them itself, or breaks them.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// No larger body is looked at.
const SMALL_BYTES: u64 = 64 << 10;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// By name in small letters.
    pub headers: HashMap<String, String>,
    /// Nothing of a large one.
    pub body: Vec<u8>,
}

/// What becomes of a request.
pub enum Act {
    Pass,
    /// Passes so many bytes of the answer's body and breaks the connection.
    Cut(u64),
    /// Passes so many bytes of the answer's body, and then nothing until the client has gone.
    Stop(u64),
    /// Passes the answer piece by piece, with pauses between.
    Slow {
        piece_bytes: usize,
        pause: Duration,
    },
    Answer(Answer),
}

/// An answer of our own.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Box<dyn Read + Send>,
    /// What `Content-Length` says; nothing if it is not told.
    pub length: Option<u64>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        let body = body.into();
        let length = Some(body.len() as u64);
        Answer { status, headers: Vec::new(), body: Box::new(io::Cursor::new(body)), length }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

type Decide = dyn Fn(&Request) -> Act + Send + Sync;

/// The server; it ends when this is dropped.
pub struct Front {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Front {
    /// Stands before the registry at a port of this machine.
    pub fn new(registry: u16, decide: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Front {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, ended) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let decide: Arc<Decide> = Arc::new(decide);
        let (log, end) = (seen.clone(), ended.clone());
        let listener = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (log, decide) = (log.clone(), decide.clone());
                thread::spawn(move || {
                    // A client that was killed is no failure of the test.
                    let _ = serve(&client, registry, &log, &*decide);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Front { address, seen, ended, listener: Some(listener) }
    }

    pub fn name(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.listener.take().unwrap().join().unwrap();
    }
}

fn serve(
    mut client: &TcpStream,
    registry: u16,
    log: &Mutex<Vec<Request>>,
    decide: &Decide,
) -> io::Result<()> {
    let mut incoming = BufReader::new(client);
    let Some((mut request, head)) = read_head(&mut incoming)? else { return Ok(()) };
    let length = request.headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = incoming.take(length);
    if length <= SMALL_BYTES {
        body.read_to_end(&mut request.body)?;
    }
    log.lock().unwrap().push(request.clone());
    let act = decide(&request);
    if let Act::Answer(mut answer) = act {
        io::copy(&mut body, &mut io::sink())?;
        return send(client, &mut answer);
    }
    let mut upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, registry))?;
    upstream.write_all(&head)?;
    upstream.write_all(&request.body)?;
    io::copy(&mut body, &mut upstream)?;
    match act {
        Act::Pass => io::copy(&mut upstream, &mut client).map(drop),
        Act::Cut(bytes) => pass_beginning(upstream, client, bytes),
        Act::Stop(bytes) => {
            pass_beginning(upstream, client, bytes)?;
            client.read(&mut [0]).map(drop)
        }
        Act::Slow { piece_bytes, pause } => {
            let mut piece = vec![0; piece_bytes];
            loop {
                match upstream.read(&mut piece)? {
                    0 => return Ok(()),
                    count => client.write_all(&piece[..count])?,
                }
                thread::sleep(pause);
            }
        }
        Act::Answer(_) => unreachable!("it was sent above"),
    }
}

fn pass_beginning(upstream: TcpStream, mut client: &TcpStream, bytes: u64) -> io::Result<()> {
    let mut answer = BufReader::new(upstream);
    client.write_all(&raw_head(&mut answer)?)?;
    io::copy(&mut answer.take(bytes), &mut client).map(drop)
}

fn send(mut client: &TcpStream, answer: &mut Answer) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Answer\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(length) = answer.length {
        head += &format!("Content-Length: {length}\r\n");
    }
    client.write_all(format!("{head}\r\n").as_bytes())?;
    io::copy(&mut answer.body, &mut client).map(drop)
}

/// Reads the head of a request, and gives it as it is to be passed on: one request per connection.
fn read_head(incoming: &mut impl BufRead) -> io::Result<Option<(Request, Vec<u8>)>> {
    // Who begins with TLS does not end a line, and waits for us.
    if !incoming.fill_buf()?.first().is_some_and(u8::is_ascii_uppercase) {
        return Ok(None);
    }
    let head = String::from_utf8(raw_head(incoming)?).unwrap();
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let Some(first) = lines.next() else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<String, String> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut passed = format!("{first}\r\nconnection: close\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| *name != "connection") {
        passed += &format!("{name}: {value}\r\n");
    }
    Ok(Some((
        Request { method, path, headers, body: Vec::new() },
        format!("{passed}\r\n").into_bytes(),
    )))
}

/// All up to the empty line.
fn raw_head(incoming: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && incoming.read_until(b'\n', &mut head)? > 0 {}
    Ok(head)
}
