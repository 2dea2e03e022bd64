//! What all servers and clients share.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and what its client knows of its state.
pub trait Service: Clone {
    /// The command line; `dir` is a directory for what the server needs, seen from inside too.
    fn command(&self, dir: &Path) -> Vec<String>;
    fn port(&self) -> u16;
    /// Gives the server something to remember.
    fn fill(&mut self) {}
    /// Asks the server, which must remember everything and go on. The connection is closed by the
    /// server before this returns: connections are not what is tested here.
    fn talk(&mut self);
}

/// A connection on which nothing takes for ever.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Waits until somebody listens, or tells what the server said instead.
pub fn await_answer(service: &impl Service, output: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = connect(service.port()) {
        assert!(Instant::now() < deadline, "no answer: {error}; its output: {}", output());
        sleep(Duration::from_millis(20));
    }
}

/// A conversation by lines.
pub struct Lines {
    stream: BufReader<TcpStream>,
}

impl Lines {
    pub fn open(port: u16) -> Lines {
        Lines { stream: BufReader::with_capacity(1 << 16, connect(port).unwrap()) }
    }

    /// Sends while another thread may receive; big requests would block otherwise.
    pub fn send(&mut self, request: &[u8]) {
        self.stream.get_mut().write_all(request).unwrap();
    }

    pub fn receive(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    #[track_caller]
    pub fn ask(&mut self, request: &str, expect: &str) {
        self.send(format!("{request}\r\n").as_bytes());
        assert_eq!(self.receive(), expect, "{request}");
    }

    /// Says good-bye and waits until the server has closed its end.
    pub fn close(mut self, request: &str) {
        self.send(format!("{request}\r\n").as_bytes());
        self.stream.read_to_end(&mut Vec::new()).unwrap();
    }
}

/// Asks by HTTP and gives the body of the answer.
pub fn get(port: u16, path: &str) -> String {
    let mut stream = connect(port).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.") && head.contains(" 200 "), "{answer}");
    body.trim().to_owned()
}

/// A port that is free, below those the kernel gives to clients: none of them may take it while
/// the server is frozen.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = (std::process::id() % 640 * 16) as u16;
        let port = 21_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 11_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Where a program is; system directories first, since shims of version managers in `PATH` may
/// only work for one user.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"].map(PathBuf::from);
    let dirs = system.into_iter().chain(std::env::split_paths(&path));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A command line: a program and its arguments.
pub fn command_line(name: &str, arguments: &[&str]) -> Vec<String> {
    let program = program(name).unwrap().display().to_string();
    [program].into_iter().chain(arguments.iter().map(|&a| a.to_owned())).collect()
}
