//! The program as a process: signals, exit codes, and descriptors that run out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test that cannot go on has failed; of the helpers not all are needed here"
)]

#[path = "support/program.rs"]
mod program;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alt_ws::auth;
use alt_ws::ids::UserId;
use program::{Program, SECRET};
use rustix::process::Signal;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    fn connect(program: &Program) -> Self {
        let stream = TcpStream::connect(program.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, unread: Vec::new() }
    }

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
    let server = Program::start_with_descriptors(48, &[("CORES", "1")]);
    let mut ann = Client::connect(&server);
    ann.enter("ann");
    let mut observer = Client::connect(&server);
    observer.get("/livez");
    observer.until("{\"status\":\"ok\"}");
    // The kernel takes them all; the server has no descriptors for so many.
    let crowd: Vec<_> = (0..64).map(|_| Client::connect(&server)).collect();
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
    let mut bob = Client::connect(&server);
    bob.enter("bob");
    bob.say("421[\"room:join\",{\"roomId\":\"r\"}]");
    ann.until("user:joined");
}

#[test]
fn the_first_signal_ends_the_process_with_0_once_its_clients_are_gone() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Program::start_with_descriptors(256, &[("CORES", "1")]);
        Client::connect(&server).enter("ann");
        server.signal(signal);
        assert_eq!(server.ends().0, Some(0));
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once_with_1() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let mut server = Program::start_with_descriptors(256, &[("CORES", "1")]);
        // A session whose last packets nobody fetches is waited for.
        let mut lazy = Client::connect(&server);
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
