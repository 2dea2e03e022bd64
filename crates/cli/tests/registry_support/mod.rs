//! A registry of its own for each test: Debian's `docker-registry` on a port of this machine.

#![allow(dead_code)] // not every test file uses all of it

pub mod front;
pub mod image;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use front::{Act, Answer, Front, Request};

/// A name that is not known to be this machine.
pub const TLS_HOST: &str = "registry.test";
/// What a request for a token must show: [`USER`] and [`PASSWORD`] (RFC 7617).
const BASIC: &str = "Basic dGVzdGVyOmNvcnJlY3QgaG9yc2U=";
pub const IDENTITY_TOKEN: &str = "i-am-tester";
pub const USER: &str = "tester";
pub const PASSWORD: &str = "correct horse";
/// That password as htpasswd(1) writes it with bcrypt.
const HTPASSWD: &str = "tester:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

/// A registry that runs until this is dropped.
pub struct Registry {
    dir: tempfile::TempDir,
    port: u16,
    server: Child,
}

impl Registry {
    /// Everybody may read and write.
    pub fn open() -> Registry {
        Registry::start(|_| String::new())
    }

    /// Only [`USER`] may, with [`PASSWORD`].
    pub fn with_password() -> Registry {
        Registry::start(|dir| {
            fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
            format!("auth: {{htpasswd: {{realm: test, path: {}/htpasswd}}}}\n", dir.display())
        })
    }

    /// Shows a certificate for [`TLS_HOST`] that [`Registry::certificates`] has the signer of.
    pub fn with_tls() -> Registry {
        Registry::start(|dir| {
            let key = rcgen::generate_simple_self_signed([TLS_HOST.to_owned()]).unwrap();
            fs::create_dir(dir.join("certs")).unwrap();
            fs::write(dir.join("certs/ca.crt"), key.cert.pem()).unwrap();
            fs::write(dir.join("key.pem"), key.signing_key.serialize_pem()).unwrap();
            String::new()
        })
    }

    /// Directory for `--cert-dir`.
    pub fn certificates(&self) -> PathBuf {
        self.dir.path().join("certs")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As users write it: `localhost:PORT`.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Files of the registry's blobs, by digits of their digest.
    pub fn blob_path(&self, hex: &str) -> PathBuf {
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    fn start(configure: impl Fn(&Path) -> String) -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let more = configure(dir.path());
        for _ in 0..10 {
            let port = free_port();
            let config = config(dir.path(), port) + &more;
            fs::write(dir.path().join("config.yml"), config).unwrap();
            let mut server = serve(dir.path());
            if accepts(port, &mut server) {
                return Registry { dir, port, server };
            }
        }
        panic!("docker-registry does not start: {}", log_of(dir.path()));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// A port that nobody listens on. Somebody may take it before we do: then we look for another.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn config(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let certificate = format!("{dir}/certs/ca.crt");
    let tls = match Path::new(&certificate).exists() {
        true => format!(", tls: {{certificate: {certificate}, key: {dir}/key.pem}}"),
        false => String::new(),
    };
    format!(
        "version: 0.1\n\
         log: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {dir}/data}}, delete: {{enabled: true}}}}\n\
         http: {{addr: 127.0.0.1:{port}{tls}}}\n"
    )
}

fn serve(dir: &Path) -> Child {
    let log = fs::File::create(dir.join("log")).unwrap();
    Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("config.yml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("docker-registry is missing; `cargo xtask test` installs it")
}

/// Waits until the server listens; false if it ends instead.
fn accepts(port: u16, server: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if server.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        sleep(Duration::from_millis(10));
    }
    server.kill().unwrap();
    server.wait().unwrap();
    false
}

fn log_of(dir: &Path) -> String {
    let log = fs::File::open(dir.join("log")).unwrap();
    BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>().join("\n")
}

/// Stands before a registry, gives tokens to [`USER`] and to who has [`IDENTITY_TOKEN`], and lets
/// only those pass who show one.
pub fn with_tokens(registry: &Registry) -> Front {
    Front::new(registry.port(), move |request: &Request| {
        let shown = request.headers.get("authorization").map(String::as_str);
        if request.path.starts_with("/token") {
            let body = String::from_utf8_lossy(&request.body);
            let has_identity = body.contains("grant_type=refresh_token")
                && body.contains(&format!("refresh_token={IDENTITY_TOKEN}&"));
            return Act::Answer(match shown {
                Some(shown) if shown == BASIC => Answer::new(200, r#"{"token":"t-o-k-e-n"}"#),
                None if has_identity => Answer::new(200, r#"{"access_token":"t-o-k-e-n"}"#),
                None if request.method == "POST" => {
                    Answer::new(400, r#"{"error":"invalid_grant"}"#)
                }
                _ => Answer::new(401, r#"{"details":"who are you?"}"#),
            });
        }
        match shown {
            Some("Bearer t-o-k-e-n") => Act::Pass,
            _ => Act::Answer(challenge(request)),
        }
    })
}

/// The answer to who shows no token.
pub fn challenge(request: &Request) -> Answer {
    let realm = format!("http://{}/token", request.headers["host"]);
    let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"");
    Answer::new(401, "{}").header("WWW-Authenticate", challenge)
}
