//! The server's end of the simulation: a session and an outbox, driven as the calling contract of the session says.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use alt_ws::engineio::body::{self, Body, Form};
use alt_ws::engineio::handshake::Dialect;
use alt_ws::engineio::packet::{self, ClientPacket};
use alt_ws::engineio::payload::ServerPacket;
use alt_ws::engineio::session::{Answer, CloseReason, Farewell, Output, Received, Session, Sink, Timings, Transport};
use alt_ws::server::outbox::{Bounds, Outbox, SharedFrame};

pub(crate) const TIMINGS: Timings = Timings {
    ping_interval: Duration::from_secs(25),
    ping_timeout: Duration::from_secs(20),
    upgrade_timeout: Duration::from_secs(10),
    linger: Duration::from_secs(5),
};

pub(crate) const ROOMY: Bounds = Bounds { bytes: 1 << 20, age: Duration::from_secs(3600) };

const MAX_PAYLOAD: usize = 1000;

/// What the server says to one request or on one WebSocket, each with the number that the client gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Answer(u64, String),
    Posted(u64),
    Refused(u64),
    Bytes(u64, Vec<u8>),
    Hangup(u64),
}

pub(crate) struct Server {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    /// The time of the last `Wait`, or when the outbox is too old.
    pub(crate) deadline: Instant,
    pub(crate) said: Vec<Said>,
    /// Messages that reached the layer above.
    pub(crate) received: Vec<String>,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) is_removed: bool,
    pub(crate) upgrades: u32,
    pub(crate) dropped_probes: u32,
    /// Bytes that the kernel takes for a WebSocket at a time.
    pub(crate) window: usize,
    /// Since when nobody has answered: the start, or the last pong to a ping.
    pub(crate) unanswered_since: Instant,
    pub(crate) probed_since: Option<Instant>,
    pub(crate) closing_since: Option<Instant>,
    pub(crate) poll: Option<u64>,
    dialect: Dialect,
    outbox: Outbox,
    bounds: Bounds,
    websocket: Option<u64>,
    is_pinged: bool,
}

impl Server {
    pub(crate) fn open(transport: Transport, bounds: Bounds, now: Instant) -> Self {
        Self::open_in(Dialect::V4, transport, bounds, now)
    }

    pub(crate) fn open_in(dialect: Dialect, transport: Transport, bounds: Bounds, now: Instant) -> Self {
        let mut server = Self {
            session: Session::new(transport, dialect.revision(), TIMINGS, now),
            dialect,
            now,
            deadline: now,
            said: Vec::new(),
            received: Vec::new(),
            closed: None,
            is_removed: false,
            upgrades: 0,
            dropped_probes: 0,
            window: usize::MAX,
            unanswered_since: now,
            probed_since: None,
            closing_since: None,
            poll: None,
            outbox: Outbox::default(),
            bounds,
            websocket: (transport == Transport::WebSocket).then_some(0),
            is_pinged: false,
        };
        server.settle();
        server
    }

    pub(crate) fn send(&mut self, message: &str) {
        self.push(&format!("4{message}"));
        self.settle();
    }

    pub(crate) fn send_volatile(&mut self, message: &str) {
        if self.session.is_open() {
            self.outbox.push_volatile(SharedFrame::from_text(&format!("4{message}")), self.bounds, self.now);
        }
        self.settle();
    }

    pub(crate) fn close(&mut self) {
        self.closing_since.get_or_insert(self.now);
        self.session.close("test", self.now);
        self.settle();
    }

    pub(crate) fn poll(&mut self, request: u64) {
        match self.session.handle_poll(self.now) {
            Ok(()) => self.poll = Some(request),
            Err(_) => self.said.push(Said::Refused(request)),
        }
        self.settle();
    }

    /// The request was cancelled before its answer left.
    pub(crate) fn abort_poll(&mut self, request: u64) {
        self.poll.take_if(|held| *held == request);
        self.session.handle_poll_aborted();
        self.settle();
    }

    /// `false` when the post is refused.
    pub(crate) fn begin_post(&mut self, request: u64) -> bool {
        let taken = self.session.handle_post(self.now);
        if taken.is_err() {
            self.said.push(Said::Refused(request));
        }
        self.settle();
        taken.is_ok()
    }

    pub(crate) fn finish_post(&mut self, request: u64, body: &str) {
        for packet in body::decode(self.dialect.revision(), Form::Text, body.as_bytes()).unwrap() {
            match packet {
                Ok(packet) => self.receive(Transport::Polling, packet),
                Err(_) => self.session.handle_parse_error(),
            }
        }
        self.session.handle_post_end();
        self.said.push(if self.is_removed { Said::Refused(request) } else { Said::Posted(request) });
        self.settle();
    }

    pub(crate) fn post(&mut self, request: u64, body: &str) {
        if self.begin_post(request) {
            self.finish_post(request, body);
        }
    }

    pub(crate) fn break_post(&mut self) {
        self.session.handle_post_aborted();
        self.settle();
    }

    pub(crate) fn open_websocket(&mut self, id: u64) {
        match self.session.handle_probe_opened(self.now) {
            Ok(()) => {
                self.websocket = Some(id);
                self.probed_since = Some(self.now);
            }
            Err(_) => self.said.push(Said::Hangup(id)),
        }
        self.settle();
    }

    pub(crate) fn websocket_says(&mut self, id: u64, text: &str) {
        if self.websocket != Some(id) {
            return;
        }
        match ClientPacket::decode(text, self.dialect.revision()) {
            Ok(packet) => self.receive(Transport::WebSocket, packet),
            Err(_) if self.session.transport() == Transport::Polling => self.session.handle_probe_error(),
            Err(_) => self.session.handle_parse_error(),
        }
        self.settle();
    }

    pub(crate) fn websocket_closes(&mut self, id: u64, with_close_frame: bool) {
        if self.websocket != Some(id) {
            return;
        }
        if with_close_frame && self.session.transport() == Transport::Polling {
            self.session.handle_probe_error();
        } else {
            if !with_close_frame {
                self.websocket = None;
            }
            self.probed_since = None;
            self.session.handle_websocket_closed(with_close_frame);
        }
        self.settle();
    }

    /// The deadline has passed, now or a while ago.
    pub(crate) fn wake(&mut self) {
        self.session.handle_timeout(self.now);
        let is_late = self.outbox.deadline(self.bounds).is_some_and(|deadline| deadline <= self.now);
        if self.session.is_open() && is_late {
            self.session.abort(CloseReason::Server("slow_consumer"));
        }
        self.settle();
        assert!(
            self.is_removed || self.deadline > self.now,
            "a deadline in the past would be waited for in a hot loop"
        );
    }

    /// Lets time pass with timers that fire when they should.
    pub(crate) fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while !self.is_removed && self.deadline <= until {
            self.now = self.deadline;
            self.wake();
        }
        self.now = until;
    }

    /// Whether bytes for a WebSocket wait for the kernel.
    pub(crate) fn is_blocked(&self) -> bool {
        self.session.sink() == Sink::WebSocket && !self.outbox.is_empty()
    }

    /// Does what the session asks for, until it asks for nothing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            match self.session.poll_output() {
                Output::Wait(at) if self.flush() => {
                    let aged = self.outbox.deadline(self.bounds).filter(|_| self.session.is_open());
                    self.deadline = aged.map_or(at, |aged| aged.min(at));
                    return;
                }
                Output::Wait(_) => {}
                output => self.perform(output),
            }
        }
        panic!("the session never comes to a `Wait`");
    }

    fn perform(&mut self, output: Output) {
        assert!(!self.is_removed, "{output:?} after `Remove`");
        match output {
            Output::Wait(_) => {}
            Output::Ping => {
                assert!(!self.is_pinged, "a ping while another is not answered");
                self.is_pinged = true;
                self.push(packet::PING);
            }
            Output::ProbePong => {
                self.said.push(Said::Bytes(self.websocket.unwrap(), framed(packet::PONG_PROBE)));
            }
            Output::Upgraded => {
                self.upgrades += 1;
                self.probed_since = None;
                self.said.extend(self.poll.take().map(Said::Refused));
            }
            Output::DropProbe => {
                self.dropped_probes += 1;
                self.probed_since = None;
                self.said.push(Said::Hangup(self.websocket.take().unwrap()));
            }
            Output::Closed(reason) => {
                assert_eq!(self.closed, None, "an end is told once");
                self.closed = Some(reason);
                self.closing_since.get_or_insert(self.now);
            }
            Output::Remove(farewell) => self.remove(farewell),
        }
    }

    fn remove(&mut self, farewell: Farewell) {
        assert!(self.closed.is_some(), "removed before anybody was told");
        self.is_removed = true;
        if let Some(poll) = self.poll.take() {
            let mut body = self.outbox.take_payload(self.dialect, MAX_PAYLOAD);
            let last = match farewell {
                Farewell::Close => packet::CLOSE,
                Farewell::Noop => packet::NOOP,
            };
            body.append(ServerPacket::Text(last.as_bytes()));
            self.said.push(Said::Answer(poll, text(body)));
        }
        if let Some(id) = self.websocket.take() {
            if self.session.transport() == Transport::WebSocket {
                self.write(id);
            }
            self.said.push(Said::Hangup(id));
        }
    }

    /// Moves what may go. `false` when that made the session want something.
    fn flush(&mut self) -> bool {
        match self.session.sink() {
            Sink::None => true,
            Sink::WebSocket => {
                self.write(self.websocket.unwrap());
                let is_closing = self.closed.is_some();
                if self.outbox.is_empty() {
                    self.session.handle_drained();
                }
                !(is_closing && self.outbox.is_empty())
            }
            Sink::Poll => {
                let body = match self.session.answer(self.outbox.is_empty()) {
                    Some(Answer::Outbox) => self.outbox.take_payload(self.dialect, MAX_PAYLOAD),
                    Some(Answer::Noop) => Body::of(self.dialect.revision(), packet::NOOP),
                    None => return self.session.sink() == Sink::Poll,
                };
                let poll = self.poll.take().unwrap();
                self.said.push(Said::Answer(poll, text(body)));
                false
            }
        }
    }

    fn write(&mut self, id: u64) {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = self.outbox.slices(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(self.window).collect();
        if !bytes.is_empty() {
            self.outbox.advance(bytes.len());
            self.said.push(Said::Bytes(id, bytes));
        }
    }

    fn push(&mut self, packet: &str) {
        let frame = SharedFrame::from_text(packet);
        if self.session.is_open() && self.outbox.push(frame, self.bounds, self.now).is_err() {
            self.session.abort(CloseReason::Server("slow_consumer"));
        }
    }

    fn receive(&mut self, source: Transport, packet: ClientPacket<'_>) {
        if packet == ClientPacket::Pong && source == self.session.transport() && std::mem::take(&mut self.is_pinged) {
            self.unanswered_since = self.now;
        }
        match self.session.handle_packet(source, packet, self.now) {
            Received::Text(text) => self.received.push(text.to_owned()),
            Received::Binary(_) => panic!("nobody sends binary packets here"),
            Received::Ping(data) => self.push(&format!("3{data}")),
            Received::Nothing => {}
        }
    }
}

fn text(body: Body) -> String {
    String::from_utf8(body.into_bytes()).unwrap()
}

fn framed(text: &str) -> Vec<u8> {
    let mut outbox = Outbox::default();
    outbox.push(SharedFrame::from_text(text), ROOMY, Instant::now()).unwrap();
    let mut slices = [IoSlice::new(&[])];
    outbox.slices(&mut slices);
    slices[0].to_vec()
}

/// Takes the first whole frame off the front of what arrived.
pub(crate) fn unframe(bytes: &mut Vec<u8>) -> Option<String> {
    let length = usize::from(*bytes.get(1)?);
    assert!(bytes[0] == 0x81 && length <= 125, "a short text frame, not {bytes:?}");
    let frame: Vec<u8> = (bytes.len() >= 2 + length).then(|| bytes.drain(..2 + length).collect())?;
    Some(String::from_utf8(frame[2..].to_vec()).unwrap())
}
