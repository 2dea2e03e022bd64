//! memcached: worker threads, each with its own epoll set.

use std::path::Path;

use super::service::{Lines, Service, command_line, free_port};

const KEYS: u32 = 5000;

#[derive(Clone)]
pub struct Memcached {
    port: u16,
    count: u64,
}

impl Memcached {
    pub fn new() -> Memcached {
        Memcached { port: free_port(), count: 0 }
    }
}

impl Service for Memcached {
    fn command(&self, _dir: &Path) -> Vec<String> {
        let port = self.port.to_string();
        let options = ["-u", "root", "-l", "127.0.0.1", "-p", &port, "-U", "0", "-m", "64"];
        command_line("memcached", &options)
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn fill(&mut self) {
        let mut memcached = Lines::open(self.port);
        memcached.ask("set count 0 0 1\r\n0", "STORED");
        for n in 0..KEYS {
            let value = format!("value-{n}");
            memcached.ask(&format!("set k{n} {n} 0 {}\r\n{value}", value.len()), "STORED");
        }
        memcached.close("quit");
    }

    fn talk(&mut self) {
        let mut memcached = Lines::open(self.port);
        self.count += 1;
        memcached.ask("incr count 1", &self.count.to_string());
        for n in (0..KEYS).step_by(11) {
            let value = format!("value-{n}");
            memcached.ask(&format!("get k{n}"), &format!("VALUE k{n} {n} {}", value.len()));
            assert_eq!((memcached.receive(), memcached.receive()), (value, "END".into()));
        }
        memcached.close("quit");
    }
}
