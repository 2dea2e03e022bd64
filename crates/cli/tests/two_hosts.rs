//! Containers between two hosts with networks, bridges and directories of their own.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod image_support;
mod network_support;
mod ssh_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use container_support::{Done, Engine, finish, way_to};
use image_support::tool;
use network_support::{HOST, Net, OUTSIDE, SERVE_COUNT};
use ssh_support::{SSHD, SshServer, with_ssh};

const SERVER: &str = "import http.server
counter = 0
class Counter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global counter
        self.send_response(200); self.end_headers()
        self.wfile.write(b'%d' % counter); counter += 1
http.server.HTTPServer(('', 8088), Counter).serve_forever()
";
const DOCKERFILE: &str = "FROM python:3
COPY server.py /server.py
EXPOSE 8088
CMD [\"python3\", \"/server.py\"]
";

/// Runs a command as a user types it: in its default network, and from some directory.
fn try_type(engine: &Engine, dir: &Path, line: &str) -> Done {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = engine.command(&words);
    finish(command.env_remove("STASIS_NETWORK").current_dir(dir), |_| ())
}

fn typed(engine: &Engine, line: &str) -> String {
    let done = try_type(engine, engine.dir.path(), line);
    assert_eq!(done.code, 0, "{line}: {done:?}");
    done.out.trim().to_owned()
}

/// An image of the host's Python, by the name of Docker's.
fn import_python(engine: &Engine) {
    let program = fs::canonicalize("/usr/bin/python3").expect("this test needs Debian's python3");
    let root = engine.dir.path().join("python");
    let linked = tool("ldd", &[program.to_str().unwrap()]);
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.map(Path::new).chain([program.as_path()]) {
        let copy = root.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(file, copy).unwrap();
    }
    let name = program.file_name().unwrap();
    std::os::unix::fs::symlink(name, root.join("usr/bin/python3")).unwrap();
    let modules = Path::new("/usr/lib").join(name);
    let archive = root.with_extension("tar").display().to_string();
    let base = root.to_str().unwrap();
    tool("tar", &["-C", base, "-cf", &archive, "."]);
    let left_out = ["test", "dist-packages", "idlelib", "lib2to3", "__pycache__"];
    let left_out: Vec<String> = left_out.iter().map(|name| format!("--exclude={name}")).collect();
    let mut arguments: Vec<&str> = left_out.iter().map(String::as_str).collect();
    let modules = modules.strip_prefix("/").unwrap().to_str().unwrap();
    arguments.extend(["-C", "/", "-rf", &archive, modules]);
    tool("tar", &arguments);
    engine.run(&["import", &archive, "python:3"]);
}

fn address_of(engine: &Engine, name: &str) -> String {
    let address = engine.inspect(name, "{{.NetworkSettings.IPAddress}}");
    format!("{address}:8088")
}

#[test]
fn a_counter_goes_on_after_a_reboot_and_as_copies_here_and_there() {
    let mut net = Net::new();
    let there = net.engine_outside();
    import_python(&net.engine);
    let context = net.engine.dir.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("server.py"), SERVER).unwrap();
    fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
    let built = try_type(&net.engine, &context, "build . --tag counter");
    assert_eq!(built.code, 0, "{built:?}");
    typed(&net.engine, "run --name criu-test --detach counter");
    let count = |net: &Net, name: &str| net.get(HOST, &address_of(&net.engine, name));
    net.engine.eventually("it counts", || count(&net, "criu-test").as_deref() == Some("0"));
    assert_eq!(count(&net, "criu-test").as_deref(), Some("1"));
    typed(&net.engine, "container checkpoint criu-test");
    net.reboot();
    typed(&net.engine, "container restore --keep criu-test");
    assert_eq!(count(&net, "criu-test").as_deref(), Some("2"));

    let archive = net.engine.dir.path().join("chkpt.tar.gz").display().to_string();
    typed(&net.engine, &format!("container checkpoint criu-test --export {archive}"));
    for name in ["counter1", "counter2", "counter3"] {
        typed(&net.engine, &format!("container restore --import {archive} --name {name}"));
        assert_eq!(count(&net, name).as_deref(), Some("3"));
    }
    let listed = try_type(&net.engine, &context, "ps -a --format {{.Names}}").out;
    assert_eq!(listed, "counter3\ncounter2\ncounter1\ncriu-test\n");

    let image = net.engine.dir.path().join("image.tar").display().to_string();
    typed(&net.engine, &format!("save -o {image} counter"));
    typed(&there, &format!("load -i {image}"));
    typed(&there, &format!("container restore --import {archive}"));
    assert_eq!(net.get(OUTSIDE, &address_of(&there, "criu-test")).as_deref(), Some("3"));
    through_a_pipe(&net.engine, &there, "counter1");
    assert_eq!(net.get(OUTSIDE, &address_of(&there, "counter1")).as_deref(), Some("4"));
}

/// `container checkpoint NAME --export - | container restore --import -`
fn through_a_pipe(here: &Engine, there: &Engine, name: &str) {
    let mut export = here.command(&["container", "checkpoint", name, "--export", "-"]);
    let mut exporting = export.stdout(Stdio::piped()).spawn().unwrap();
    let mut import = there.command(&["container", "restore", "--import", "-"]);
    let imported = finish(import.stdin(exporting.stdout.take().unwrap()), |_| ());
    assert!(exporting.wait().unwrap().success());
    assert_eq!(imported.code, 0, "{imported:?}");
}

fn start_server(net: &Net) {
    net.start_python("server", &["-p", "8080:80"], SERVE_COUNT, &[]);
}

/// Who cannot follow a container hears that its connection is over, also if it only waits.
#[test]
fn peers_of_a_container_that_moves_are_told() {
    let net = Net::new();
    let there = net.engine_outside();
    start_server(&net);
    let ways = [(HOST, "10.88.0.2:80"), (HOST, "192.0.2.1:8080"), (OUTSIDE, "192.0.2.1:8080")];
    let mut clients = ways.map(|(place, target)| net.count(place, target));
    clients.iter_mut().for_each(|client| client.ask().unwrap());
    net.engine.run(&["container", "migrate", "server", "--via", &way_to(&there)]);
    for (client, way) in clients.iter_mut().zip(ways) {
        assert!(client.hears_of_a_reset(), "{way:?}");
    }
    there.eventually("its programs are told", || {
        there.logs("server").matches("lost 104").count() == ways.len()
    });
    net.count(HOST, "192.0.2.2:8080").ask().unwrap();
    assert!(net.ask(OUTSIDE, "192.0.2.1:8080").is_none(), "somebody still answers here");
}

#[test]
fn who_insists_on_its_connections_keeps_it_here_if_they_cannot_go_along() {
    let net = Net::new();
    let there = net.engine_outside();
    start_server(&net);
    let mut client = net.count(OUTSIDE, "192.0.2.1:8080");
    client.ask().unwrap();
    // Somebody has its address there.
    there.start("other", &["--network", "bridge"], "sleep 600");
    let way = way_to(&there);
    let order = ["container", "migrate", "--tcp-established", "-n", "new", "server", "--via", &way];
    let refused = net.engine.try_run(&order);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("10.88.0.2"), "{}", refused.err);
    client.ask().unwrap();
    assert_eq!(there.run(&["ps", "-a", "--format", "{{.Names}}"]), "other\n");
}

#[test]
fn a_container_goes_to_another_host_by_ssh() {
    let net = Net::new();
    let there = net.engine_outside();
    let listens = |port| {
        let connect = move || std::net::TcpStream::connect(("192.0.2.2", port)).is_ok();
        net.within(HOST, connect).join().unwrap()
    };
    let server = SshServer::start_as(net.command(OUTSIDE, SSHD), "192.0.2.2", listens);
    start_server(&net);
    let mut client = net.count(HOST, "10.88.0.2:80");
    client.ask().unwrap();
    let mut command: Command =
        net.engine.command(&["container", "migrate", "server", "root@192.0.2.2"]);
    with_ssh(&server, &there, &mut command);
    let done = finish(&mut command, |_| ());
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    assert!(client.hears_of_a_reset(), "the client was not told");
    net.count(HOST, "192.0.2.2:8080").ask().unwrap();
    assert!(PathBuf::from(server.path("known")).exists());
}
