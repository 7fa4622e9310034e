//! The program as a process: signals, exit codes, and descriptors that run out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alt_ws::auth;
use alt_ws::ids::UserId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The real program with one core, serving on a free port until it is dropped.
struct Server {
    process: Child,
    address: SocketAddr,
    /// Its log, line by line.
    log: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// `descriptors` is how many the process may have.
    fn start(descriptors: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new("prlimit")
            .arg(format!("--nofile={descriptors}:{descriptors}"))
            .arg(env!("CARGO_BIN_EXE_alt-ws"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs([("JWT_SECRET", SECRET), ("WS_HOST", "127.0.0.1"), ("WS_PORT", "0"), ("STORE", "memory")])
            .envs([("OPEN_ROOMS", "true"), ("CORES", "1"), ("LOG_LEVEL", "info")])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (sender, log) = channel();
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let mut server = Self { process, address: ([0; 4], 0).into(), log, _folder: folder };
        let line = server.until("\"listening\"");
        let event: Value = serde_json::from_str(&line).unwrap();
        server.address = event["address"].as_str().unwrap().parse().unwrap();
        server
    }

    /// The next line of the log that contains some words.
    fn until(&self, words: &str) -> String {
        let late = Instant::now() + PATIENCE;
        loop {
            let line = self.log.recv_timeout(late.saturating_duration_since(Instant::now())).unwrap();
            if line.contains(words) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Its exit code, once it has ended.
    fn ends(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        while self.process.try_wait().unwrap().is_none() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        (self.process.try_wait().unwrap().and_then(|status| status.code()), started.elapsed())
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, unread: Vec::new() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads up to the first place where `words` end, and returns everything up to there.
    fn until(&mut self, words: &str) -> String {
        loop {
            if let Some(at) = self.unread.windows(words.len()).position(|bytes| bytes == words.as_bytes()) {
                let taken: Vec<_> = self.unread.drain(..at + words.len()).collect();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the connection ended before {words}");
            self.unread.extend_from_slice(&bytes[..count]);
        }
    }

    fn get(&mut self, path: &str) {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    }

    /// The number behind a word of the metrics' page.
    fn metric(&mut self, name: &str) -> u64 {
        self.get("/metrics");
        self.until(&format!("\n{name} "));
        self.until("\n").trim().parse().unwrap()
    }

    /// A masked text frame; the mask is zero, which masks nothing and is legal.
    fn say(&mut self, packet: &str) {
        let length = u8::try_from(packet.len()).ok().filter(|length| *length < 126);
        let head = match length {
            Some(length) => vec![0x81, 0x80 | length],
            None => [&[0x81, 0xfe][..], &u16::try_from(packet.len()).unwrap().to_be_bytes()].concat(),
        };
        self.write([&head[..], &[0; 4], packet.as_bytes()].concat());
    }

    /// Becomes a socket of `user`.
    fn enter(&mut self, user: &str) {
        let key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        self.write(format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n{key}\r\n\r\n"));
        self.until("\"sid\"");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let user = UserId::from_text(user).unwrap();
        let token = auth::sign(&user, "x", SECRET, now, Duration::from_secs(3600)).unwrap();
        self.say(&format!("40{{\"token\":\"{token}\"}}"));
        self.until("40{\"sid\"");
    }
}

#[test]
fn h8_without_descriptors_those_who_are_in_are_served_and_later_others_get_in() {
    let server = Server::start(48);
    let mut ann = server.connect();
    ann.enter("ann");
    let mut observer = server.connect();
    observer.get("/livez");
    observer.until("{\"status\":\"ok\"}");
    // The kernel takes them all; the server has no descriptors for so many.
    let crowd: Vec<_> = (0..64).map(|_| server.connect()).collect();
    let complaint = server.until("accepting a connection failed");
    assert!(complaint.contains("WARN"), "{complaint}");
    let late = Instant::now() + PATIENCE;
    while observer.metric("alt_ws_accept_errors_total") < 5 && Instant::now() < late {}
    assert!(observer.metric("alt_ws_accept_errors_total") >= 5, "it goes on trying");
    ann.say("421[\"room:join\",{\"roomId\":\"r\"}]");
    ann.until("431[{\"ok\":true");
    ann.say("422[\"message:send\",{\"roomId\":\"r\",\"content\":\"still here\"}]");
    ann.until("432[{\"ok\":true");

    drop(crowd);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.contains("connections are accepted again")) {
        lines.push(server.log.recv_timeout(PATIENCE).unwrap());
    }
    assert!(!lines.iter().any(|line| line.contains("accepting a connection failed")), "said once: {lines:?}");
    let mut bob = server.connect();
    bob.enter("bob");
    bob.say("421[\"room:join\",{\"roomId\":\"r\"}]");
    ann.until("user:joined");
}

#[test]
fn the_first_signal_ends_the_process_with_0_once_its_clients_are_gone() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(256);
        server.connect().enter("ann");
        server.signal(signal);
        assert_eq!(server.ends().0, Some(0));
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once_with_1() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let mut server = Server::start(256);
        // A session whose last packets nobody fetches is waited for.
        let mut lazy = server.connect();
        lazy.get("/socket.io/?EIO=4&transport=polling");
        lazy.until("\"sid\"");
        server.signal(first);
        server.until("stopping");
        server.signal(second);
        let (code, time) = server.ends();
        assert_eq!(code, Some(1));
        assert!(time < Duration::from_secs(2), "{time:?}");
    }
}
