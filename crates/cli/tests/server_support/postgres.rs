//! postgres with a table, each time with a new connection over TCP.

use std::{
    fs::Permissions,
    io::{self, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use super::service::{Service, command_line, connect, free_port};

const ROWS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// Its number for "the database system is starting up".
const CANNOT_CONNECT_NOW: &str = "57P03";

/// Where postgres keeps what all its processes share.
#[derive(Clone, Copy)]
pub enum SharedMemory {
    /// What it does by itself: a small System V segment, the rest by mmap(2).
    Usual,
    SystemV,
}

#[derive(Clone)]
pub struct Postgres {
    port: u16,
    memory: SharedMemory,
    count: u64,
}

impl Postgres {
    pub fn new(memory: SharedMemory) -> Postgres {
        Postgres { port: free_port(), memory, count: 0 }
    }
}

impl Service for Postgres {
    fn command(&self, dir: &Path) -> Vec<String> {
        let port = self.port.to_string();
        let mut server = server(dir);
        server.extend(["-p", &port, "-c", "listen_addresses=127.0.0.1"].map(str::to_owned));
        if let SharedMemory::SystemV = self.memory {
            let kinds = ["shared_memory_type=sysv", "dynamic_shared_memory_type=sysv"];
            server.extend(kinds.into_iter().flat_map(|kind| ["-c".to_owned(), kind.to_owned()]));
        }
        server
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn fill(&mut self) {
        let mut session = Session::open_when_it_is_up(self.port);
        session.ask(&format!("CREATE TABLE t AS SELECT generate_series(1, {ROWS}) AS n"));
        session.ask("CREATE TABLE count AS SELECT 0 AS n");
        session.close();
    }

    fn talk(&mut self) {
        let mut session = Session::open(self.port);
        self.count += 1;
        let counted = session.ask("UPDATE count SET n = n + 1 RETURNING n");
        assert_eq!(counted, [self.count.to_string()]);
        let sum = session.ask("SELECT count(*) || ' ' || sum(n) FROM t");
        assert_eq!(sum, [format!("{ROWS} {}", ROWS * (ROWS + 1) / 2)]);
        session.close();
    }
}

/// The command line of a server on a new cluster in `dir`, as its user, who owns a part of that
/// directory.
pub fn server(dir: &Path) -> Vec<String> {
    let (home, data) = (dir.join("postgres"), dir.join("postgres/data"));
    std::fs::create_dir(&home).unwrap();
    // The user passes through on the way to what is its own.
    std::fs::set_permissions(dir, Permissions::from_mode(0o711)).unwrap();
    assert!(Command::new("chown").arg("postgres").arg(&home).status().unwrap().success());
    let data = data.display().to_string();
    let options = ["-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8", "-U", "postgres"];
    let made = as_user("initdb", &[&["-D", &data][..], &options].concat());
    let done = Command::new(&made[0]).args(&made[1..]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    as_user("postgres", &["-F", "-D", &data, "-k", &home.display().to_string()])
}

/// A program of postgres, run by its user.
pub fn as_user(name: &str, arguments: &[&str]) -> Vec<String> {
    let user = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"];
    let program = program(name).expect("was looked for before the test");
    let program = program.display().to_string();
    command_line("setpriv", &[&user[..], &[&program], arguments].concat())
}

/// Debian has the programs of each version in a directory of its own.
pub fn program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions.map(|version| version.path().join("bin").join(name)).find(|file| file.is_file())
}

/// A connection that speaks the simple query protocol, version 3.
pub struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    fn open(port: u16) -> Session {
        Session::try_open(port).unwrap()
    }

    /// It listens before it is ready to talk.
    fn open_when_it_is_up(port: u16) -> Session {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Session::try_open(port) {
                Ok(session) => return session,
                Err(refused) => {
                    assert!(refused.contains(CANNOT_CONNECT_NOW), "{refused}");
                    assert!(Instant::now() < deadline, "{refused}");
                    sleep(Duration::from_millis(20));
                }
            }
        }
    }

    fn try_open(port: u16) -> Result<Session, String> {
        Session::over(connect(port).unwrap()).map_err(|error| error.to_string())
    }

    /// One over a connection that is there.
    pub fn over(stream: TcpStream) -> io::Result<Session> {
        let mut session = Session { stream: BufReader::new(stream) };
        let body = [&196_608_u32.to_be_bytes()[..], b"user\0postgres\0\0"].concat();
        session.send(&[], &body)?;
        session.rows().map(|_| session)
    }

    /// Gives the first column of all rows.
    pub fn ask(&mut self, query: &str) -> Vec<String> {
        self.try_ask(query).unwrap()
    }

    pub fn try_ask(&mut self, query: &str) -> io::Result<Vec<String>> {
        self.send(b"Q", &[query.as_bytes(), b"\0"].concat())?;
        self.rows()
    }

    /// Says good-bye and waits until the server has closed its end.
    fn close(mut self) {
        self.send(b"X", &[]).unwrap();
        self.stream.read_to_end(&mut Vec::new()).unwrap();
    }

    fn send(&mut self, kind: &[u8], body: &[u8]) -> io::Result<()> {
        let len = u32::try_from(body.len() + 4).unwrap();
        self.stream.get_mut().write_all(&[kind, &len.to_be_bytes(), body].concat())
    }

    /// What comes until the server is ready for the next query, or its complaint.
    fn rows(&mut self) -> io::Result<Vec<String>> {
        let mut rows = Vec::new();
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'Z' => return Ok(rows),
                b'D' => rows.push(first_column(&body)),
                b'E' => return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let len = u32::from_be_bytes(head[1..].try_into().unwrap());
        let mut body = vec![0; len as usize - 4];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }
}

/// The number of columns, and before each its length.
fn first_column(row: &[u8]) -> String {
    let len = u32::from_be_bytes(row[2..6].try_into().unwrap()) as usize;
    String::from_utf8(row[6..6 + len].to_vec()).unwrap()
}
