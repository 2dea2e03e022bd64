//! A Java program with many threads, all of which go on.

use std::{fs, path::Path, process::Command, time::Duration};

use super::service::{Service, command_line, free_port, get, program};
use crate::container_support::wait_for;

const THREADS: u64 = 100;

/// Answers how often it was asked, how many threads live, and how often all of them have turned.
const SOURCE: &str = r#"
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.Executors;

public class Threads {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]), wanted = Integer.parseInt(arguments[1]);
        Thread[] threads = new Thread[wanted];
        AtomicLong[] turns = new AtomicLong[wanted];
        for (int i = 0; i < wanted; i++) {
            AtomicLong mine = turns[i] = new AtomicLong();
            threads[i] = new Thread(() -> turn(mine));
            threads[i].setDaemon(true);
            threads[i].start();
        }
        AtomicLong asked = new AtomicLong();
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", exchange -> {
            long alive = 0, least = Long.MAX_VALUE;
            for (Thread thread : threads) alive += thread.isAlive() ? 1 : 0;
            for (AtomicLong turn : turns) least = Math.min(least, turn.get());
            byte[] answer = (asked.getAndIncrement() + " " + alive + " " + least).getBytes();
            exchange.getResponseHeaders().set("Connection", "close");
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
    }

    static void turn(AtomicLong turns) {
        try {
            while (true) {
                turns.incrementAndGet();
                Thread.sleep(10);
            }
        } catch (InterruptedException end) {
            turns.set(-1);
        }
    }
}
"#;

#[derive(Clone)]
pub struct Java {
    port: u16,
    asked: u64,
    turns: u64,
}

impl Java {
    pub fn new() -> Java {
        Java { port: free_port(), asked: 0, turns: 0 }
    }

    /// How often each of the threads has turned, at least.
    fn ask(&mut self) -> u64 {
        let answer = get(self.port, "/");
        let numbers: Vec<u64> = answer.split(' ').map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers[..2], [self.asked, THREADS], "{answer}");
        self.asked += 1;
        numbers[2]
    }
}

impl Service for Java {
    fn command(&self, dir: &Path) -> Vec<String> {
        let source = dir.join("Threads.java");
        fs::write(&source, SOURCE).unwrap();
        let mut javac = Command::new(program("javac").unwrap());
        let mut javac = javac.arg("-d").arg(dir).arg(&source).spawn().unwrap();
        assert!(wait_for(&mut javac, Duration::from_secs(60)).success(), "javac failed");
        let (dir, port) = (dir.display().to_string(), self.port.to_string());
        command_line("java", &["-Xmx128m", "-cp", &dir, "Threads", &port, &THREADS.to_string()])
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn talk(&mut self) {
        let before = self.ask();
        assert!(before >= self.turns, "{before} turns after {}", self.turns);
        std::thread::sleep(Duration::from_millis(300));
        self.turns = self.ask();
        assert!(self.turns > before, "a thread stands still");
    }
}
