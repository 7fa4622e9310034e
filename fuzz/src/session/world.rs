//! The two ends of a session, the outbox before it and the client behind it, the clock, and what can happen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use alt_ws_pure::engineio::packet::ClientPacket;
use alt_ws_pure::engineio::session::{CloseReason, Received, Revision, Session, Sink, Transport};
use bytes::Bytes;

use super::heart::{Heart, TIMINGS};

/// How far the upgrade is on the WebSocket that came with the session's `sid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    None,
    Opened { since: Instant },
    Answered { since: Instant },
}

/// Why a session may be removed although messages wait for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excuse {
    None,
    /// Somebody broke the protocol or the connection, or the session was aborted, in this very act.
    Broken,
}

pub(super) struct World {
    pub(super) session: Session,
    pub(super) revision: Revision,
    pub(super) now: Instant,
    pub(super) deadline: Instant,
    pub(super) heart: Heart,
    /// Numbers of the messages that wait.
    pub(super) outbox: VecDeque<u64>,
    sent: u64,
    pub(super) heard: u64,
    pub(super) poll_held: bool,
    posting: bool,
    pub(super) transport: Transport,
    pub(super) probe: Probe,
    pub(super) closed: Option<CloseReason>,
    /// Until when a closed session may wait for a poll.
    pub(super) lingers_until: Option<Instant>,
    pub(super) is_removed: bool,
    pub(super) excuse: Excuse,
}

impl World {
    pub(super) fn new(revision: Revision, transport: Transport) -> Self {
        let now = Instant::now();
        let mut world = Self {
            session: Session::new(transport, revision, TIMINGS, now),
            revision,
            now,
            deadline: now,
            heart: Heart::new(revision, now),
            outbox: VecDeque::new(),
            sent: 0,
            heard: 0,
            poll_held: false,
            posting: false,
            transport,
            probe: Probe::None,
            closed: None,
            lingers_until: None,
            is_removed: false,
            excuse: Excuse::None,
        };
        world.settle();
        world
    }

    /// One thing happens. What a client does has small letters over polling and large ones over the WebSocket.
    pub(super) fn act(&mut self, letter: u8) {
        self.excuse = Excuse::None;
        match letter {
            b'g' => self.poll(),
            b'G' => self.abort_poll(),
            b'p' => self.post(),
            b'.' => self.end_post(),
            b'!' => self.break_post(),
            b'o' => self.open_websocket(),
            b'x' => self.lose_websocket(false),
            b'X' => self.lose_websocket(true),
            b'e' => self.parse_error(),
            b'E' => self.session.handle_probe_error(),
            b's' => self.send(),
            b'z' => self.close(),
            b'a' => self.abort(),
            b'F' => self.flush(1),
            b'f' => self.flush(usize::MAX),
            b't' => self.tick(),
            // The timer fires when it is due, or late.
            b'd' => self.wake(Duration::ZERO),
            b'l' => self.wake(Duration::from_millis(300)),
            b'L' => self.wake(Duration::from_secs(60)),
            b'0'..=b'9' => self.now += TIMES[usize::from(letter - b'0')],
            _ => match (packet(letter.to_ascii_lowercase()), letter.is_ascii_lowercase()) {
                (None, _) => return,
                (Some(packet), true) => self.receive(Transport::Polling, packet),
                (Some(packet), false) => self.receive(Transport::WebSocket, packet),
            },
        }
        self.settle();
        self.check();
    }

    fn poll(&mut self) {
        let (was_held, is_late) = (self.poll_held, self.is_late());
        self.excuse_if(was_held || is_late);
        let is_taken = self.session.handle_poll(self.now).is_ok();
        if is_taken {
            assert!(!was_held && self.transport == Transport::Polling, "two polls, or one too late");
            self.poll_held = true;
        } else {
            let is_over = self.is_removed || is_late || was_held || self.transport == Transport::WebSocket;
            assert!(is_over, "a poll is refused for nothing");
        }
    }

    fn abort_poll(&mut self) {
        if self.transport == Transport::Polling {
            self.poll_held = false;
            self.excuse = Excuse::Broken;
        }
        self.session.handle_poll_aborted();
        assert!(self.transport == Transport::WebSocket || !self.session.is_open(), "what the poll carried is lost");
    }

    fn post(&mut self) {
        let (was_posting, is_late) = (self.posting, self.is_late());
        self.excuse_if(was_posting || is_late);
        if self.session.handle_post(self.now).is_ok() {
            assert!(!was_posting && self.transport == Transport::Polling, "two posts, or one too late");
            self.posting = true;
        } else {
            let is_over = self.is_removed || is_late || was_posting || self.transport == Transport::WebSocket;
            assert!(is_over, "a post is refused for nothing");
        }
    }

    fn end_post(&mut self) {
        self.session.handle_post_end();
        self.posting = false;
    }

    fn break_post(&mut self) {
        self.excuse = Excuse::Broken;
        self.session.handle_post_aborted();
        self.posting = false;
        assert!(!self.session.is_open());
    }

    fn open_websocket(&mut self) {
        let is_late = self.is_late();
        self.excuse_if(is_late);
        let is_taken = self.session.handle_probe_opened(self.now).is_ok();
        // The time may have been over for the one before it, which is closed then.
        self.settle();
        let may_upgrade = self.session.is_open() && self.transport == Transport::Polling && self.probe == Probe::None;
        assert_eq!(is_taken, may_upgrade, "one upgrade at a time, and only from polling");
        if is_taken {
            self.probe = Probe::Opened { since: self.now };
        }
    }

    fn lose_websocket(&mut self, with_close_frame: bool) {
        if self.transport == Transport::WebSocket {
            self.excuse = Excuse::Broken;
        } else {
            self.probe = Probe::None;
        }
        self.session.handle_websocket_closed(with_close_frame);
        assert!(self.transport == Transport::Polling || !self.session.is_open(), "without a transport");
    }

    fn parse_error(&mut self) {
        self.excuse = Excuse::Broken;
        self.session.handle_parse_error();
        assert!(!self.session.is_open());
    }

    fn send(&mut self) {
        if self.session.is_open() {
            self.outbox.push_back(self.sent);
            self.sent += 1;
        }
    }

    fn close(&mut self) {
        if self.session.is_open() {
            self.lingers_until = Some(self.now + TIMINGS.linger);
        }
        self.session.close("test", self.now);
        assert!(!self.session.is_open());
    }

    fn abort(&mut self) {
        self.excuse = Excuse::Broken;
        self.session.abort(CloseReason::Server("test"));
        assert!(!self.session.is_open());
    }

    fn wake(&mut self, late: Duration) {
        if !self.is_removed {
            self.now = self.now.max(self.deadline) + late;
        }
        self.tick();
    }

    fn tick(&mut self) {
        self.excuse_if(self.is_late());
        self.session.handle_timeout(self.now);
        self.settle();
        if self.is_removed {
            return;
        }
        assert!(self.deadline > self.now, "a deadline in the past would be waited for in a hot loop");
        if self.session.is_open() {
            assert!(self.now < self.heart.latest(), "open, and nobody answers");
        }
        if let (true, Probe::Opened { since } | Probe::Answered { since }) = (self.session.is_open(), self.probe) {
            assert!(self.now < since + TIMINGS.upgrade_timeout, "an upgrade without end");
        }
        assert!(self.lingers_until.is_none_or(|until| self.now < until), "closing, and never gone");
    }

    fn receive(&mut self, source: Transport, packet: ClientPacket<'_>) {
        let (was_open, was_held) = (self.session.is_open(), self.poll_held);
        let is_on_probe = source == Transport::WebSocket && self.transport == Transport::Polling;
        let received = self.session.handle_packet(source, packet.clone(), self.now);
        if is_on_probe {
            assert_eq!(received, Received::Nothing, "on a WebSocket that is none yet");
            self.expect_on_probe(&packet);
        } else if was_open {
            // Also over polling after the upgrade: a post that began before it may be read later.
            self.expect(&packet, received);
            if packet == ClientPacket::Close && !was_held {
                self.probe = Probe::None;
            }
        } else {
            assert_eq!(received, Received::Nothing, "{packet:?} after the end");
        }
    }

    /// Whether the clock alone may end the session by now.
    fn is_late(&self) -> bool {
        self.now >= self.deadline
    }

    fn excuse_if(&mut self, is_broken: bool) {
        if is_broken {
            self.excuse = Excuse::Broken;
        }
    }

    /// The client is there, asks for all that is left, and gets it if the session lives.
    pub(super) fn take_what_is_left(&mut self) {
        self.act(b't');
        if self.transport == Transport::Polling {
            self.act(b'x');
        }
        for _ in 0..2 {
            if self.transport == Transport::Polling && !self.poll_held {
                self.act(b'g');
            }
            self.act(b'f');
            if self.session.is_open() {
                return assert_eq!(self.heard, self.sent, "everything that was sent is heard");
            }
        }
        assert!(self.is_removed, "the farewell comes with what was left, or right after it");
    }

    /// The client is never heard of again.
    pub(super) fn vanish(&mut self) {
        for _ in 0..6 {
            self.act(b'd');
        }
        assert!(self.is_removed, "nobody is there, and it lives");
        for letter in b"gGp.!oRUMmxXeEszaft" {
            self.act(*letter);
        }
        assert_eq!(self.session.sink(), Sink::None);
    }
}

fn packet(letter: u8) -> Option<ClientPacket<'static>> {
    match letter {
        b'm' => Some(ClientPacket::Message("hello")),
        b'b' => Some(ClientPacket::Binary(Bytes::from_static(&[1, 2, 3]))),
        b'i' => Some(ClientPacket::Ping("")),
        b'r' => Some(ClientPacket::Probe),
        b'n' => Some(ClientPacket::Pong),
        b'c' => Some(ClientPacket::Close),
        b'u' => Some(ClientPacket::Upgrade),
        _ => None,
    }
}

/// How long the digits take.
const TIMES: [Duration; 10] = [
    Duration::from_millis(1),
    Duration::from_millis(49),
    Duration::from_millis(50),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(25),
    Duration::from_secs(45),
];
