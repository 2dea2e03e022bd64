//! Counters in several languages: each GET answers the next integer.

use std::path::Path;

use super::service::{Service, command_line, free_port, get};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    PythonWithMuchMemory,
    Node,
}

#[derive(Clone)]
pub struct Counter {
    language: Language,
    port: u16,
    count: u64,
    /// Checksum of the server's memory, once it told.
    sum: Option<String>,
}

impl Counter {
    pub fn new(language: Language) -> Counter {
        Counter { language, port: free_port(), count: 0, sum: None }
    }
}

const PYTHON: &str = "
import http.server, os, sys, zlib
port, mib = int(sys.argv[1]), int(sys.argv[2])
memory = bytearray().join(os.urandom(1 << 20) for _ in range(mib))
count = 0
class Counter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'%d %d %d' % (count, len(memory), zlib.crc32(memory)))
        count += 1
    def log_message(self, *_):
        pass
http.server.HTTPServer(('127.0.0.1', port), Counter).serve_forever()
";

const NODE: &str = "
let count = 0;
const memory = Buffer.alloc(1 << 20, 'x');
require('http').createServer((request, response) => {
  response.setHeader('Connection', 'close');
  setTimeout(() => response.end(`${count++} ${memory.length} ${memory.toString().lastIndexOf('x')}`), 1);
}).listen(Number(process.argv[1]), '127.0.0.1');
";

impl Service for Counter {
    fn command(&self, _dir: &Path) -> Vec<String> {
        let port = self.port.to_string();
        match self.language {
            Language::Python => command_line("python3", &["-c", PYTHON, &port, "1"]),
            Language::PythonWithMuchMemory => {
                command_line("python3", &["-c", PYTHON, &port, "300"])
            }
            Language::Node => command_line("node", &["-e", NODE, &port]),
        }
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn talk(&mut self) {
        for _ in 0..3 {
            let answer = get(self.port, "/");
            let (count, sum) = answer.split_once(' ').unwrap();
            assert_eq!(count, self.count.to_string());
            self.count += 1;
            if let Some(before) = self.sum.replace(sum.to_owned()) {
                assert_eq!(sum, before, "its memory was changed");
            }
        }
    }
}
