//! Two hosts in network namespaces of their own, joined by a wire; the engine runs on one of them.

#![allow(dead_code)] // not every test file uses all of it

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::container_support::Engine;

/// What answers at all answers at once; what is dropped is known to be after this time.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Answers each connection with its first argument.
pub const SERVE_NAME: &str = "import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 80))
s.listen(50); print('ready', flush=True)
while True:
    c, _ = s.accept(); c.sendall(sys.argv[1].encode()); c.close()";

/// Prints what it is sent.
const ASK: &str = "import socket, sys
host, port = sys.argv[1].rsplit(':', 1)
s = socket.create_connection((host, int(port)), 1.5); print(s.recv(100).decode(), end='')";

/// Counts on each connection: answers each byte with the next number, in a line.
pub const SERVE_COUNT: &str = "import socket, threading
def serve(c):
    n = 0
    try:
        while c.recv(1):
            n += 1; c.sendall(b'%d\\n' % n)
    except OSError as error:
        print('lost', error.errno, flush=True)
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 80))
s.listen(50); print('ready', flush=True)
while True:
    c, _ = s.accept(); threading.Thread(target=serve, args=(c,)).start()";

/// A connection to [`SERVE_COUNT`].
pub struct Counting {
    stream: TcpStream,
    next: u32,
}

impl Counting {
    /// Asks once, and checks that nothing was lost and nothing came twice.
    pub fn ask(&mut self) -> std::io::Result<()> {
        let expect = format!("{}\n", self.next);
        let mut answer = vec![0; expect.len()];
        self.stream.write_all(b"x")?;
        self.stream.read_exact(&mut answer)?;
        assert_eq!(String::from_utf8_lossy(&answer), expect);
        self.next += 1;
        Ok(())
    }

    /// Only listens, as who waits for an answer does; tells whether the connection ends with a reset.
    pub fn hears_of_a_reset(&mut self) -> bool {
        let mut answer = [0];
        let heard = self.stream.read(&mut answer);
        heard.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    }

    /// Asks without a pause until the returned value is told to stop, and then once more.
    pub fn ask_all_the_time(mut self) -> AskingAllTheTime {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let asking = std::thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                self.ask().unwrap();
            }
            self.ask().unwrap();
            self
        });
        AskingAllTheTime { stop, asking }
    }
}

pub struct AskingAllTheTime {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Counting>,
}

impl AskingAllTheTime {
    pub fn stop(self) -> Counting {
        self.stop.store(true, Ordering::SeqCst);
        self.asking.join().unwrap()
    }
}

/// Where something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Host,
    Outside,
}

pub const HOST: Place = Place::Host;
pub const OUTSIDE: Place = Place::Outside;

/// The two hosts, 192.0.2.1 and 192.0.2.2, and the engine on the first one.
pub struct Net {
    // Removes its containers before the namespaces go.
    pub engine: Engine,
    host: Namespace,
    outside: Namespace,
}

/// A network namespace that a sleeping process holds.
struct Namespace(Child);

impl Namespace {
    fn new() -> Namespace {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "600"]).stdin(Stdio::null()).stdout(Stdio::null());
        let namespace = Namespace(command.spawn().unwrap());
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::read_link(namespace.path()).is_ok_and(|theirs| theirs == ours) {
            assert!(Instant::now() < deadline, "unshare made no network namespace");
            std::thread::sleep(Duration::from_millis(1));
        }
        namespace
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Net {
    pub fn new() -> Net {
        let (host, outside) = (Namespace::new(), Namespace::new());
        let engine = Engine::on_network(host.path());
        let net = Net { engine, host, outside };
        net.ip(OUTSIDE, "link set lo up");
        net.lay_wire();
        net
    }

    /// Another engine, on the other host.
    pub fn engine_outside(&self) -> Engine {
        Engine::on_network(self.outside.path())
    }

    fn lay_wire(&self) {
        let peer = self.outside.0.id();
        self.ip(HOST, "link set lo up");
        self.ip(HOST, &format!("link add wire type veth peer name wire netns {peer}"));
        for (place, address) in [(HOST, "192.0.2.1/24"), (OUTSIDE, "192.0.2.2/24")] {
            self.ip(place, &format!("addr add {address} dev wire"));
            self.ip(place, "link set wire up");
        }
    }

    /// The host of the engine comes up anew: its network is bare, and nothing lies below `/run`. No
    /// container may be running.
    pub fn reboot(&mut self) {
        self.ip(OUTSIDE, "link del wire");
        self.host = Namespace::new();
        self.engine.network = Some(self.host.path());
        self.unmount_all();
        fs::remove_dir_all(self.engine.dir.path().join("run")).unwrap();
        self.lay_wire();
    }

    /// What is mounted must not be removed with the directory.
    fn unmount_all(&self) {
        let here = self.engine.dir.path().to_str().unwrap();
        let mounts = || {
            let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let point = |line: &str| line.split(' ').nth(4).unwrap().to_owned();
            table.lines().map(point).filter(|point| point.starts_with(here)).collect::<Vec<_>>()
        };
        for point in mounts().iter().rev() {
            rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
        assert_eq!(mounts(), Vec::<String>::new());
    }

    /// Runs nft(8) there.
    pub fn nft(&self, place: Place, rules: &str) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace(place).path())).args(["nft", rules]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "nft {rules}: {output:?}");
    }

    fn namespace(&self, place: Place) -> &Namespace {
        match place {
            Place::Host => &self.host,
            Place::Outside => &self.outside,
        }
    }

    /// Runs ip(8) there.
    pub fn ip(&self, place: Place, arguments: &str) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace(place).path())).arg("ip");
        let output = command.args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {output:?}");
    }

    /// Does something there, on a thread of its own; threads that it starts are there, too.
    pub fn within<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = File::open(self.namespace(place).path()).unwrap();
        std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
    }

    /// What a server says to who connects; nothing if it cannot be reached.
    pub fn ask(&self, place: Place, target: &str) -> Option<String> {
        self.exchange(place, target, "")
    }

    /// The body of a page.
    pub fn get(&self, place: Place, target: &str) -> Option<String> {
        let answer = self.exchange(place, target, "GET / HTTP/1.0\r\n\r\n")?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    fn exchange(&self, place: Place, target: &str, request: &'static str) -> Option<String> {
        let target = target.parse().unwrap();
        let ask = move || {
            let mut stream = TcpStream::connect_timeout(&target, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer).filter(|answer| !answer.is_empty())
        };
        self.within(place, ask).join().unwrap()
    }

    pub fn ask_by_datagram(&self, place: Place, target: &'static str) -> Option<String> {
        self.exchange_datagrams(&self.datagram_sender(place, target))
    }

    /// A socket that always sends from the same port.
    pub fn datagram_sender(&self, place: Place, target: &'static str) -> UdpSocket {
        let open = move || {
            let own = if target.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(own).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(target).unwrap();
            socket
        };
        self.within(place, open).join().unwrap()
    }

    pub fn exchange_datagrams(&self, socket: &UdpSocket) -> Option<String> {
        socket.send(b"x").ok()?;
        let mut answer = [0; 100];
        let len = socket.recv(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..len]).into_owned())
    }

    /// As [`Net::ask`], from inside a container, which also looks names up.
    pub fn ask_from_container(&self, name: &str, target: &str) -> Option<String> {
        let done = self.engine.try_run(&["exec", name, "python3", "-c", ASK, target]);
        (done.code == 0).then_some(done.out)
    }

    pub fn try_listen(&self, place: Place, address: &'static str) -> Option<TcpListener> {
        self.within(place, move || TcpListener::bind(address).ok()).join().unwrap()
    }

    pub fn listen(&self, place: Place, address: &'static str) -> TcpListener {
        self.try_listen(place, address).unwrap()
    }

    /// A connection on which the server counts: each byte is answered with the next number.
    pub fn count(&self, place: Place, target: &str) -> Counting {
        let target: SocketAddr = target.parse().unwrap();
        let connect = move || {
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                match TcpStream::connect(target) {
                    Ok(stream) => return stream,
                    Err(error) => assert!(Instant::now() < deadline, "{target}: {error}"),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let stream = self.within(place, connect).join().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Counting { stream, next: 1 }
    }

    /// Tells every client as whom it is seen, until the returned value is dropped.
    pub fn serve_who(&self, place: Place, address: &'static str) -> TcpListener {
        let listener = self.listen(place, address);
        let server = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut client, who)) = server.accept() {
                let _ = client.write_all(who.ip().to_string().as_bytes());
            }
        });
        listener
    }

    /// Starts a Python program in the background, and waits until it says that it is ready.
    pub fn start_python(&self, name: &str, options: &[&str], program: &str, arguments: &[&str]) {
        let mut args = vec!["run", "-d", "--name", name];
        if !options.contains(&"--network") {
            args.extend(["--network", "bridge"]);
        }
        args.extend_from_slice(options);
        args.extend(["--rootfs", "/:O", "python3", "-c", program]);
        args.extend_from_slice(arguments);
        self.engine.run(&args);
        self.engine.await_log(name, "ready");
    }

    /// Names of all devices and of the tables of the packet filter on the host of the engine.
    pub fn devices_and_tables(&self) -> Vec<String> {
        let devices = fs::read_to_string(format!("/proc/{}/net/dev", self.host.0.id())).unwrap();
        let mut found: Vec<String> = devices
            .lines()
            .skip(2)
            .filter_map(|line| line.split(':').next())
            .map(|name| name.trim().to_owned())
            .collect();
        found.extend(self.tables());
        found
    }

    /// Names of the tables of the packet filter on the host of the engine.
    pub fn tables(&self) -> Vec<String> {
        self.within(HOST, || stasis_network::tables().unwrap()).join().unwrap()
    }

    /// A command that runs in the network of a host.
    pub fn command(&self, place: Place, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace(place).path())).arg(program);
        command
    }

    /// Starts a program on the host of the engine, without a container; it leads a session.
    pub fn start_process(&self, program: &[&str]) -> Child {
        let mut command = Command::new("setsid");
        command.arg("nsenter").arg(format!("--net={}", self.host.path())).args(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub fn kill(&self, pid: &str) {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        rustix::process::pidfd_send_signal(&fd, rustix::process::Signal::KILL).unwrap();
        let mut ended = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut ended, None).unwrap();
    }
}
