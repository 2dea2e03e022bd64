//! redis-server with 100,000 keys.

use std::path::Path;

use super::service::{Lines, Service, command_line, free_port};

const KEYS: u32 = 100_000;

#[derive(Clone)]
pub struct Redis {
    port: u16,
    count: u64,
}

impl Redis {
    pub fn new() -> Redis {
        Redis { port: free_port(), count: 0 }
    }
}

impl Service for Redis {
    fn command(&self, dir: &Path) -> Vec<String> {
        let (port, dir) = (self.port.to_string(), dir.display().to_string());
        let port = ["--port", &port, "--bind", "127.0.0.1"];
        // Nothing on disk: what it remembers, it remembers in memory.
        let memory = ["--save", "", "--appendonly", "no", "--dir", &dir];
        command_line("redis-server", &[port.as_slice(), &memory].concat())
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn fill(&mut self) {
        let mut redis = Lines::open(self.port);
        for first in (0..KEYS).step_by(1000) {
            let keys = first..first + 1000;
            let request: String =
                keys.clone().map(|n| format!("SET k{n} v{}\r\n", n * 7)).collect();
            redis.send(request.as_bytes());
            keys.for_each(|_| assert_eq!(redis.receive(), "+OK"));
        }
        redis.close("QUIT");
    }

    fn talk(&mut self) {
        let mut redis = Lines::open(self.port);
        self.count += 1;
        redis.ask("INCR count", &format!(":{}", self.count));
        redis.ask("DBSIZE", &format!(":{}", KEYS + 1));
        for n in (0..KEYS).step_by(101) {
            let value = format!("v{}", n * 7);
            redis.ask(&format!("GET k{n}"), &format!("${}", value.len()));
            assert_eq!(redis.receive(), value);
        }
        redis.close("QUIT");
    }
}
