//! nginx: a master and four workers that share memory and a listening socket.

use std::{collections::BTreeSet, fs, path::Path};

use super::service::{Service, command_line, free_port, get};

const WORKERS: usize = 4;

#[derive(Clone)]
pub struct Nginx {
    port: u16,
    /// The last answer to "which connection is this?", counted in memory shared by the workers.
    connection: Option<u64>,
    /// Who has answered so far.
    workers: BTreeSet<String>,
}

impl Nginx {
    pub fn new() -> Nginx {
        Nginx { port: free_port(), connection: None, workers: BTreeSet::new() }
    }

    fn configuration(&self, dir: &str) -> String {
        let port = self.port;
        format!(
            "daemon off; worker_processes {WORKERS}; pid {dir}/nginx.pid; error_log stderr;
             events {{ worker_connections 64; }}
             http {{
               access_log {dir}/access.log;
               server {{
                 listen 127.0.0.1:{port};
                 location / {{ return 200 \"$pid $connection\"; }}
               }}
             }}"
        )
    }
}

impl Service for Nginx {
    fn command(&self, dir: &Path) -> Vec<String> {
        let shown = dir.display().to_string();
        let configuration = format!("{shown}/nginx.conf");
        fs::write(&configuration, self.configuration(&shown)).unwrap();
        command_line("nginx", &["-c", &configuration])
    }

    fn port(&self) -> u16 {
        self.port
    }

    /// No worker may be another than before, and no connection may be missed.
    fn talk(&mut self) {
        for _ in 0..200 {
            let answer = get(self.port, "/");
            let (worker, connection) = answer.split_once(' ').unwrap();
            let connection: u64 = connection.parse().unwrap();
            if let Some(last) = self.connection.replace(connection) {
                assert_eq!(connection, last + 1, "connections served by all workers");
            }
            self.workers.insert(worker.to_owned());
            assert!(self.workers.len() <= WORKERS, "new workers: {:?}", self.workers);
        }
    }
}
