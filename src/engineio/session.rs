//! The Engine.IO session: which transport is current, the heartbeat, the upgrade, and the one way it ends.
//!
//! Owns the rules of the protocol document (revisions 3 and 4, which differ here in who pings) and of the reference server; knows no socket, no HTTP and no
//! queue. The calling contract:
//!
//! 1. Something happened: call the `handle_*` method that names it, with the time it happened.
//! 2. Call [`Session::poll_output`] until it answers [`Output::Wait`]; do what each output says.
//! 3. Whenever the outbox or the transport changed, ask [`Session::sink`] (and for a held poll [`Session::answer`])
//!    where queued packets may go now.
//! 4. Call [`Session::handle_timeout`] when the deadline of the last `Wait` has passed, or later.
//!
//! Time only moves forward. After [`Output::Remove`] the session takes nothing and says nothing any more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

mod words;

pub use super::handshake::{Revision, Transport};
use super::packet::ClientPacket;
pub use words::{Answer, CloseReason, Farewell, Output, Received, Refused, Sink};

/// The durations of a session, the same for all sessions of a server.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// From a pong, or the start, to the next ping.
    pub ping_interval: Duration,
    /// From a ping until its pong must have come. In revision 3 the client's next ping must have come after both times.
    pub ping_timeout: Duration,
    /// From a WebSocket that opens with a `sid` until its `upgrade` packet.
    pub upgrade_timeout: Duration,
    /// How long a closed session waits for the poll that takes the last packets.
    pub linger: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The layer above is told; a poll may still come for what is left.
    Closing {
        until: Instant,
        farewell: Farewell,
    },
    /// `Remove` is on its way or was given.
    Removed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heartbeat {
    PingAt(Instant),
    PongUntil(Instant),
    /// Revision 3, from the first to the last: the client's next ping must have come.
    ClientPingUntil(Instant),
}

impl Heartbeat {
    fn new(revision: Revision, timings: Timings, now: Instant) -> Self {
        match revision {
            Revision::V3 => Self::ClientPingUntil(now + timings.ping_interval + timings.ping_timeout),
            Revision::V4 => Self::PingAt(now + timings.ping_interval),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    None,
    /// A WebSocket opened with our `sid`.
    Opened {
        until: Instant,
    },
    /// Its probe was answered: polls are ended with a `noop` until it upgrades.
    Answered {
        until: Instant,
    },
}

/// A timer that fires a little late still counts from when it was due, so that lateness does not add up. A timer
/// that fires later than this was held up by a stalled machine, and the client must not pay for that.
const TIMER_SLACK: Duration = Duration::from_millis(50);

/// One Engine.IO session.
#[derive(Debug)]
pub struct Session {
    timings: Timings,
    transport: Transport,
    state: State,
    heartbeat: Heartbeat,
    probe: Probe,
    poll_held: bool,
    posting: bool,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session that just opened over `transport`.
    #[must_use]
    pub fn new(transport: Transport, revision: Revision, timings: Timings, now: Instant) -> Self {
        Self {
            timings,
            transport,
            state: State::Open,
            heartbeat: Heartbeat::new(revision, timings, now),
            probe: Probe::None,
            poll_held: false,
            posting: false,
            outputs: VecDeque::new(),
        }
    }

    /// The current transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The revision it speaks, for all of its life.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self.heartbeat {
            Heartbeat::ClientPingUntil(_) => Revision::V3,
            Heartbeat::PingAt(_) | Heartbeat::PongUntil(_) => Revision::V4,
        }
    }

    /// Whether messages still reach the layer above.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Where queued packets may go now.
    #[must_use]
    pub fn sink(&self) -> Sink {
        match (self.state, self.transport) {
            (State::Removed, _) => Sink::None,
            (_, Transport::WebSocket) => Sink::WebSocket,
            (_, Transport::Polling) if self.poll_held => Sink::Poll,
            (_, Transport::Polling) => Sink::None,
        }
    }

    /// A GET request holds the line.
    ///
    /// # Errors
    /// [`Refused`] when the session is not on polling, is over, or already holds one; the last also ends it.
    pub fn handle_poll(&mut self, now: Instant) -> Result<(), Refused> {
        self.handle_timeout(now);
        if self.state == State::Removed || self.transport != Transport::Polling {
            return Err(Refused);
        }
        if self.poll_held {
            self.end(CloseReason::Overlap, Farewell::Close);
            return Err(Refused);
        }
        self.poll_held = true;
        Ok(())
    }

    /// What the held poll is answered with now, if with anything. Once answered the poll is no longer held.
    pub fn answer(&mut self, outbox_is_empty: bool) -> Option<Answer> {
        if self.sink() != Sink::Poll {
            return None;
        }
        let upgrading = matches!(self.probe, Probe::Answered { .. });
        let answer = match (outbox_is_empty, self.state) {
            // The official client forgets messages that share an answer with a close packet, so the farewell of a
            // closing session waits for the poll after its last packets.
            (false, State::Open | State::Closing { .. }) => Answer::Outbox,
            (true, State::Open) if upgrading => Answer::Noop,
            (true, State::Closing { farewell, .. }) => {
                self.remove(farewell);
                return None;
            }
            _ => return None,
        };
        self.poll_held = false;
        Some(answer)
    }

    /// A GET request was cancelled while it was held, or before its answer was taken: what it may have carried is lost,
    /// so the session ends. After an upgrade such a poll carries nothing.
    pub fn handle_poll_aborted(&mut self) {
        if self.transport == Transport::Polling {
            self.poll_held = false;
            self.end(CloseReason::RequestAborted, Farewell::Close);
        }
    }

    /// A POST request begins.
    ///
    /// # Errors
    /// [`Refused`] when the session is not on polling, is over, or is still reading another; the last also ends it.
    pub fn handle_post(&mut self, now: Instant) -> Result<(), Refused> {
        self.handle_timeout(now);
        // A closing session takes the post and drops its packets: an error would have the client leave before the
        // poll that brings it what is queued.
        if self.state == State::Removed || self.transport != Transport::Polling {
            return Err(Refused);
        }
        if self.posting {
            self.end(CloseReason::Overlap, Farewell::Close);
            return Err(Refused);
        }
        self.posting = true;
        Ok(())
    }

    /// The POST request's packets have been handled.
    pub fn handle_post_end(&mut self) {
        self.posting = false;
    }

    /// The POST request broke off, or its body was not acceptable.
    pub fn handle_post_aborted(&mut self) {
        self.posting = false;
        self.end(CloseReason::RequestAborted, Farewell::Close);
    }

    /// A WebSocket opens with this session's `sid`.
    ///
    /// # Errors
    /// [`Refused`] when the session is not on polling, is over, or is being upgraded by another one.
    pub fn handle_probe_opened(&mut self, now: Instant) -> Result<(), Refused> {
        self.handle_timeout(now);
        if !self.is_open() || self.transport != Transport::Polling || self.probe != Probe::None {
            return Err(Refused);
        }
        self.probe = Probe::Opened { until: now + self.timings.upgrade_timeout };
        Ok(())
    }

    /// The WebSocket's connection ended; `by_client` when the client said so with a close frame.
    pub fn handle_websocket_closed(&mut self, by_client: bool) {
        match (self.transport, self.probe) {
            (Transport::WebSocket, _) => {
                let reason = if by_client { CloseReason::ClientClose } else { CloseReason::TransportClose };
                self.end(reason, Farewell::Close);
            }
            (Transport::Polling, _) => self.probe = Probe::None,
        }
    }

    /// A packet came over `source`. What it means for the layer above is returned, the rest becomes outputs.
    pub fn handle_packet<'a>(&mut self, source: Transport, packet: ClientPacket<'a>, now: Instant) -> Received<'a> {
        if source == Transport::WebSocket && self.transport == Transport::Polling {
            // Also while closing: a client in the middle of its upgrade polls no more, and what is queued for it can
            // only follow it to the WebSocket.
            self.handle_probe_packet(&packet);
            return Received::Nothing;
        }
        if !self.is_open() {
            return Received::Nothing;
        }
        match packet {
            ClientPacket::Message(text) => return Received::Text(text),
            ClientPacket::Binary(bytes) => return Received::Binary(bytes),
            ClientPacket::Ping(data) => return self.handle_ping(data, now),
            // On the WebSocket that is the transport, a ping like any other.
            ClientPacket::Probe => return self.handle_ping("probe", now),
            ClientPacket::Pong => match self.heartbeat {
                Heartbeat::PongUntil(_) => self.heartbeat = Heartbeat::new(Revision::V4, self.timings, now),
                // One pong per ping: a flood of them neither costs nor postpones anything.
                Heartbeat::PingAt(_) => {}
                // In revision 3 it is the client that pings.
                Heartbeat::ClientPingUntil(_) => self.handle_parse_error(),
            },
            ClientPacket::Close => self.handle_client_close(now),
            // It belongs on a WebSocket that is being probed.
            ClientPacket::Upgrade => self.handle_parse_error(),
        }
        Received::Nothing
    }

    /// In revision 3 each ping is answered and begins the wait for the next; in revision 4 it is the server that pings.
    fn handle_ping<'a>(&mut self, data: &'a str, now: Instant) -> Received<'a> {
        match self.revision() {
            Revision::V3 => {
                self.heartbeat = Heartbeat::new(Revision::V3, self.timings, now);
                Received::Ping(data)
            }
            Revision::V4 => {
                self.handle_parse_error();
                Received::Nothing
            }
        }
    }

    /// What came over the current transport is not the protocol.
    pub fn handle_parse_error(&mut self) {
        self.end(CloseReason::ParseError, Farewell::Close);
    }

    /// What came over a probed WebSocket is not the protocol, or the probe failed otherwise.
    pub fn handle_probe_error(&mut self) {
        if self.probe != Probe::None {
            self.probe = Probe::None;
            self.outputs.push_back(Output::DropProbe);
        }
    }

    fn handle_probe_packet(&mut self, packet: &ClientPacket<'_>) {
        match (packet, self.probe) {
            (ClientPacket::Probe, Probe::Opened { until } | Probe::Answered { until }) => {
                self.probe = Probe::Answered { until };
                self.outputs.push_back(Output::ProbePong);
            }
            (ClientPacket::Upgrade, Probe::Answered { .. }) => {
                self.probe = Probe::None;
                self.transport = Transport::WebSocket;
                self.poll_held = false;
                self.outputs.push_back(Output::Upgraded);
            }
            (_, Probe::None) => {}
            _ => self.handle_probe_error(),
        }
    }

    /// The layer above ends the session. Queued packets still go out, after an upgrade that is under way if need be.
    pub fn close(&mut self, reason: &'static str, now: Instant) {
        if !self.is_open() {
            return;
        }
        self.outputs.push_back(Output::Closed(CloseReason::Server(reason)));
        self.state = State::Closing { until: now + self.timings.linger, farewell: Farewell::Close };
    }

    /// The layer below ends the session at once: what is queued cannot, or must not, go out any more.
    pub fn abort(&mut self, reason: CloseReason) {
        self.end(reason, Farewell::Close);
    }

    /// A closing session's outbox is empty, or will never be: nothing more to wait for.
    pub fn handle_drained(&mut self) {
        if let State::Closing { farewell, .. } = self.state
            && self.transport == Transport::WebSocket
        {
            self.remove(farewell);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Open => {}
            State::Closing { until, farewell } if now >= until => return self.remove(farewell),
            State::Closing { .. } | State::Removed => return,
        }
        if let Heartbeat::PingAt(due) = self.heartbeat
            && now >= due
        {
            self.outputs.push_back(Output::Ping);
            let sent = if now - due < TIMER_SLACK { due } else { now };
            self.heartbeat = Heartbeat::PongUntil(sent + self.timings.ping_timeout);
        }
        if let Heartbeat::PongUntil(until) | Heartbeat::ClientPingUntil(until) = self.heartbeat
            && now >= until
        {
            return self.end(CloseReason::PingTimeout, Farewell::Close);
        }
        if let Probe::Opened { until } | Probe::Answered { until } = self.probe
            && now >= until
        {
            self.handle_probe_error();
        }
    }

    /// What to do next; [`Output::Wait`] when that is nothing.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Wait(self.deadline()))
    }

    fn deadline(&self) -> Instant {
        let (Heartbeat::PingAt(heartbeat) | Heartbeat::PongUntil(heartbeat) | Heartbeat::ClientPingUntil(heartbeat)) =
            self.heartbeat;
        match (self.state, self.probe) {
            (State::Closing { until, .. }, _) => until,
            (_, Probe::Opened { until } | Probe::Answered { until }) => heartbeat.min(until),
            (_, Probe::None) => heartbeat,
        }
    }

    /// A client that closes by a POST while no poll is held may have one on its way, sent before it knew: that poll
    /// deserves a `noop` rather than an error, so the session lingers for it.
    fn handle_client_close(&mut self, now: Instant) {
        if self.transport == Transport::Polling && !self.poll_held {
            self.outputs.push_back(Output::Closed(CloseReason::ClientClose));
            self.probe = Probe::None;
            self.state = State::Closing { until: now + self.timings.linger, farewell: Farewell::Noop };
        } else {
            self.end(CloseReason::ClientClose, Farewell::Noop);
        }
    }

    fn end(&mut self, reason: CloseReason, farewell: Farewell) {
        if self.is_open() {
            self.outputs.push_back(Output::Closed(reason));
        }
        self.remove(farewell);
    }

    fn remove(&mut self, farewell: Farewell) {
        if self.state != State::Removed {
            self.state = State::Removed;
            self.probe = Probe::None;
            self.outputs.push_back(Output::Remove(farewell));
        }
    }
}
