//! What a session may answer, ask for and let pass, by what has happened to it.

use alt_ws_pure::engineio::packet::ClientPacket;
use alt_ws_pure::engineio::session::{Answer, CloseReason, Farewell, Output, Received, Revision, Sink, Transport};

use super::heart::TIMINGS;
use super::world::{Excuse, Probe, World};

impl World {
    /// What a packet meant, on a transport that carries the session's packets.
    pub(super) fn expect(&mut self, packet: &ClientPacket<'_>, received: Received<'_>) {
        let is_v3 = self.revision == Revision::V3;
        match packet {
            ClientPacket::Message(text) => assert_eq!(received, Received::Text(text)),
            ClientPacket::Binary(bytes) => assert_eq!(received, Received::Binary(bytes.clone())),
            ClientPacket::Ping(data) if is_v3 => {
                assert_eq!(received, Received::Ping(data));
                self.heart.client_ping(self.now);
            }
            ClientPacket::Probe if is_v3 => {
                assert_eq!(received, Received::Ping("probe"));
                self.heart.client_ping(self.now);
            }
            ClientPacket::Pong if !is_v3 => {
                assert_eq!(received, Received::Nothing);
                self.heart.pong(self.now);
            }
            ClientPacket::Close => {
                assert!(!self.session.is_open());
                self.excuse = Excuse::Broken;
                self.lingers_until = Some(self.now + TIMINGS.linger);
            }
            ClientPacket::Ping(_) | ClientPacket::Probe | ClientPacket::Pong | ClientPacket::Upgrade => {
                assert!(!self.session.is_open(), "{packet:?} is not the protocol");
                self.excuse = Excuse::Broken;
            }
        }
    }

    /// What must come of a packet on a WebSocket that is being probed, if there is one.
    pub(super) fn expect_on_probe(&mut self, packet: &ClientPacket<'_>) {
        let output = (self.probe != Probe::None && !self.is_removed).then(|| self.session.poll_output());
        match (packet, self.probe, output) {
            (_, Probe::None, _) | (_, _, None) => {}
            (ClientPacket::Probe, Probe::Opened { since } | Probe::Answered { since }, output) => {
                assert_eq!(output, Some(Output::ProbePong));
                self.probe = Probe::Answered { since };
            }
            (ClientPacket::Upgrade, Probe::Answered { .. }, output) => {
                assert_eq!(output, Some(Output::Upgraded));
                self.transport = Transport::WebSocket;
                self.probe = Probe::None;
                self.poll_held = false;
            }
            (_, _, output) => {
                assert_eq!(output, Some(Output::DropProbe), "{packet:?} on a probe closes it");
                self.probe = Probe::None;
            }
        }
    }

    /// Does what the session asks for, until it asks for nothing.
    pub(super) fn settle(&mut self) {
        for _ in 0..8 {
            match self.session.poll_output() {
                Output::Wait(at) => return self.deadline = at,
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
                assert!(self.closed.is_none(), "a ping after the end");
                self.heart.ping(self.now);
            }
            Output::ProbePong | Output::Upgraded => panic!("{output:?} without a packet that asks for it"),
            Output::DropProbe => {
                assert_ne!(self.probe, Probe::None, "there is no probe");
                self.probe = Probe::None;
            }
            Output::Closed(reason) => {
                assert_eq!(self.closed, None, "an end is told once");
                if reason == CloseReason::PingTimeout {
                    self.heart.stop(self.now);
                }
                self.closed = Some(reason);
            }
            Output::Remove(farewell) => self.remove(farewell),
        }
    }

    fn remove(&mut self, farewell: Farewell) {
        let reason = self.closed.expect("removed before anybody was told");
        let is_late = self.lingers_until.is_some_and(|until| self.now >= until);
        assert!(
            self.outbox.is_empty() || is_late || self.excuse == Excuse::Broken,
            "{reason:?}: what was queued before is not waited for"
        );
        if self.excuse == Excuse::None {
            assert_eq!(farewell == Farewell::Noop, reason == CloseReason::ClientClose, "{reason:?}");
        }
        self.is_removed = true;
        self.probe = Probe::None;
    }

    /// Moves up to `most` messages to where the session says that they may go.
    pub(super) fn flush(&mut self, most: usize) {
        match self.session.sink() {
            Sink::None => {}
            Sink::WebSocket => {
                assert_eq!(self.transport, Transport::WebSocket, "there is no WebSocket to write to");
                assert!(!self.is_removed);
                self.deliver(most);
                if self.outbox.is_empty() {
                    self.session.handle_drained();
                }
            }
            Sink::Poll => {
                assert_eq!(self.transport, Transport::Polling, "both transports at once");
                assert!(self.poll_held && !self.is_removed, "there is no poll to answer");
                match self.session.answer(self.outbox.is_empty()) {
                    Some(Answer::Outbox) => {
                        assert!(!self.outbox.is_empty(), "an answer with nothing in it");
                        self.deliver(most);
                        self.poll_held = false;
                    }
                    Some(Answer::Noop) => {
                        let is_answered = matches!(self.probe, Probe::Answered { .. });
                        assert!(is_answered && self.outbox.is_empty(), "a poll is let go for nothing");
                        self.poll_held = false;
                    }
                    None => assert!(self.outbox.is_empty(), "messages that may go stay"),
                }
            }
        }
    }

    fn deliver(&mut self, most: usize) {
        for number in self.outbox.drain(..most.min(self.outbox.len())) {
            assert_eq!(number, self.heard, "in order, without a gap, and once");
            self.heard += 1;
        }
    }

    /// What holds after every act.
    pub(super) fn check(&self) {
        assert_eq!(self.session.is_open(), self.closed.is_none(), "what is closed stays closed");
        assert_eq!(self.session.transport(), self.transport);
        assert_eq!(self.session.revision(), self.revision);
        match self.session.sink() {
            Sink::Poll => assert!(self.poll_held && self.transport == Transport::Polling && !self.is_removed),
            Sink::WebSocket => assert!(self.transport == Transport::WebSocket && !self.is_removed),
            Sink::None => assert!(self.is_removed || (self.transport == Transport::Polling && !self.poll_held)),
        }
        if !self.is_removed {
            let longest = TIMINGS.ping_interval + TIMINGS.ping_timeout;
            assert!(self.deadline <= self.now + longest, "nobody looks at it for ages");
            let own = self.lingers_until.filter(|_| self.closed.is_some()).unwrap_or_else(|| self.heart.latest());
            assert!(self.deadline <= own, "its own end is slept through");
        }
    }
}
