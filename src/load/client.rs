//! One simulated client: bytes in, bytes out, no I/O and no clock.
//!
//! Owns the conversation: handshake, CONNECT, `room:join`, then sending, counting and answering pings. Framing is
//! [`websocket`]'s and [`polling`]'s, counting is [`Tally`]'s.

use super::ledger::{Arrival, Ledger};
use super::options::Transport;
use super::script::{self, MESSAGE_NEW, Script, Stamp};
use super::tally::Tally;
use super::websocket::{Frame, Outgoing};
use super::words::{complaint, contains, field, number_of};
use super::{http, polling, websocket};

/// How long to wait after a refusal that does not say so, in milliseconds.
const RETRY_AFTER_MS: u64 = 1000;

/// Why a client cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The server does not want this client.
    #[error("the server refused: {0}")]
    Refused(String),
    /// An HTTP request was answered with this status.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// The server ended it.
    #[error("the server closed the connection")]
    Closed,
    /// The server closed the WebSocket with this code.
    #[error("the server closed the WebSocket with code {0}")]
    ClosedWith(u16),
    /// What came is not what a client may expect.
    #[error("the server sent {0}")]
    Protocol(&'static str),
    /// The network failed.
    #[error("{0}")]
    Network(std::io::ErrorKind),
}

/// One of a client's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// The WebSocket, or the connection for GETs.
    Main,
    /// The connection for POSTs.
    Post,
}

/// How far a client has come, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Waits for the open packet.
    Opening,
    /// Waits for the answer to CONNECT.
    Connecting,
    /// Waits for the acknowledgement of `room:join`.
    Joining,
    /// Takes part.
    Joined,
    /// Has said goodbye.
    Closing,
    /// Is gone.
    Closed,
}

#[derive(Debug)]
enum Wire {
    WebSocket { is_open: bool },
    Polling(polling::Link),
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    index: usize,
    room: usize,
    stage: Stage,
    wire: Wire,
    token: Option<Box<str>>,
    /// One for each sender of the room.
    ledgers: Vec<Ledger>,
    /// Which of its own messages were answered.
    answers: Ledger,
    /// Messages that the server refused and that wait for `resume_at`, in nanoseconds of the run.
    held: usize,
    resume_at: u64,
    /// The server has said that it goes away.
    is_told: bool,
    /// A packet under construction.
    scratch: Vec<u8>,
    main_out: Vec<u8>,
    post_out: Vec<u8>,
}

impl Client {
    /// A client with its first request in [`output`](Self::output).
    pub(super) fn new(index: usize, token: Option<Box<str>>, script: &Script) -> Self {
        let room = script.room(index);
        let mut main_out = Vec::new();
        let wire = match script.transport {
            Transport::WebSocket => {
                websocket::handshake(&mut main_out, &script.authority);
                Wire::WebSocket { is_open: false }
            }
            Transport::Polling => {
                let link = polling::Link::default();
                link.get(&mut main_out, &script.authority);
                Wire::Polling(link)
            }
        };
        Self {
            index,
            room,
            stage: Stage::Opening,
            wire,
            token,
            ledgers: vec![Ledger::default(); script.senders(room).count()],
            answers: Ledger::default(),
            held: 0,
            resume_at: 0,
            is_told: false,
            scratch: Vec::new(),
            main_out,
            post_out: Vec::new(),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the server has said that it goes away.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// Whether a POST waits for its answer.
    pub(super) fn is_posting(&self) -> bool {
        matches!(&self.wire, Wire::Polling(link) if link.is_posting)
    }

    /// What is to be written to a connection. Whoever writes takes away what was written.
    pub(super) fn output(&mut self, channel: Channel) -> &mut Vec<u8> {
        match channel {
            Channel::Main => &mut self.main_out,
            Channel::Post => &mut self.post_out,
        }
    }

    /// Takes in what was read, as far as it is complete, and says how many bytes that was. The rest has to be given again,
    /// with more behind it.
    ///
    /// # Errors
    /// [`Failure`]: the client is at its end.
    pub(super) fn receive(
        &mut self,
        channel: Channel,
        bytes: &[u8],
        script: &Script,
        tally: &mut Tally,
    ) -> Result<usize, Failure> {
        let mut rest = bytes;
        while let Some(used) = self.receive_one(channel, rest, script, tally)? {
            rest = rest.get(used..).unwrap_or_default();
        }
        self.post(script);
        Ok(bytes.len() - rest.len())
    }

    fn receive_one(
        &mut self,
        channel: Channel,
        bytes: &[u8],
        script: &Script,
        tally: &mut Tally,
    ) -> Result<Option<usize>, Failure> {
        match &mut self.wire {
            Wire::WebSocket { is_open: true } => {
                let Some((frame, used)) = websocket::read(bytes)? else { return Ok(None) };
                match frame {
                    Frame::Text(packet) => self.packet(packet, script, tally)?,
                    Frame::Other => {}
                    Frame::Ping(payload) => {
                        websocket::write(&mut self.main_out, Outgoing::Pong, mask(self.index), payload)
                    }
                    Frame::Close(code) if self.stage < Stage::Closing => {
                        return Err(code.map_or(Failure::Closed, Failure::ClosedWith));
                    }
                    Frame::Close(_) => self.stage = Stage::Closed,
                }
                Ok(Some(used))
            }
            Wire::WebSocket { is_open } => {
                let Some(head) = http::head(bytes)? else { return Ok(None) };
                *is_open = head.status == 101;
                if *is_open { Ok(Some(head.len)) } else { Err(Failure::Status(head.status)) }
            }
            Wire::Polling(link) => {
                let Some((body, used)) = polling::answer(bytes)? else { return Ok(None) };
                match channel {
                    Channel::Post => {
                        link.is_posting = false;
                        if self.stage == Stage::Closing && link.is_empty() {
                            self.stage = Stage::Closed;
                        }
                    }
                    Channel::Main => {
                        polling::packets(body).try_for_each(|packet| self.packet(packet, script, tally))?;
                        self.get(script);
                    }
                }
                Ok(Some(used))
            }
        }
    }

    /// Takes in one Engine.IO packet. What a broadcast multiplies comes first, the rest hardly ever.
    fn packet(&mut self, packet: &[u8], script: &Script, tally: &mut Tally) -> Result<(), Failure> {
        if let Some(event) = packet.strip_prefix(MESSAGE_NEW) {
            self.message(event, script, tally);
            return Ok(());
        }
        let is_over = self.stage >= Stage::Closing;
        match packet {
            [b'0', open @ ..] if self.stage == Stage::Opening => {
                if let Wire::Polling(link) = &mut self.wire {
                    let sid = field(open, b"\"sid\":\"").ok_or(Failure::Protocol("an open packet without a sid"))?;
                    link.sid = Some(sid.into());
                }
                self.stage = Stage::Connecting;
                self.connect();
            }
            [b'4', b'0', ..] if self.stage == Stage::Connecting => {
                self.stage = Stage::Joining;
                self.join();
            }
            [b'4', b'4', complaint @ ..] => return Err(refused(complaint)),
            [b'4', b'3', b'0', b'[', answer @ ..] if self.stage == Stage::Joining => {
                if contains(answer, b"\"ok\":false") {
                    return Err(refused(answer));
                }
                self.stage = Stage::Joined;
                tally.joined += 1;
                if script.is_comer(self.index) {
                    tally.arrived.push(self.index);
                }
            }
            [b'4', b'3', answer @ ..] if !is_over => self.answer(answer, script, tally),
            [b'4', b'2', event @ ..] if event.starts_with(b"[\"error\"") && !is_over => {
                self.error(event, script, tally)
            }
            [b'4', b'2', event @ ..] if event.starts_with(b"[\"server:draining\"") && !self.is_told => {
                self.is_told = true;
                tally.told += 1;
            }
            [b'2'] => self.emit(b"3"),
            [b'1'] | [b'4', b'1', ..] if !is_over => return Err(Failure::Closed),
            _ => {}
        }
        Ok(())
    }

    /// A `message:new`.
    fn message(&mut self, event: &[u8], script: &Script, tally: &mut Tally) {
        let Some(stamp) = script.read_message(event) else {
            tally.strayed += 1;
            return;
        };
        let is_new = tally.receive(self.room, stamp, &mut self.ledgers, script);
        if is_new && stamp.sender == self.index && !script.durable && !script.is_paced && tally.is_sending {
            self.send(script, tally);
        }
    }

    /// The acknowledgement of a message.
    fn answer(&mut self, answer: &[u8], script: &Script, tally: &mut Tally) {
        let counter = script::acknowledged(answer);
        if counter
            .is_none_or(|counter| !tally.was_sent(self.index, counter) || self.answers.enter(counter) == Arrival::Again)
        {
            tally.fail("an acknowledgement of nothing, or a second one");
        } else if contains(answer, b"\"ok\":false") {
            self.refuse(answer, script, tally);
        } else {
            tally.acknowledge();
            self.write_down(answer, tally);
            if tally.is_sending && !script.is_paced {
                self.send(script, tally);
            }
        }
    }

    /// A line of the journal: room, seq, id, and how the content begins.
    fn write_down(&self, answer: &[u8], tally: &mut Tally) {
        let Some(journal) = &mut tally.journal else { return };
        let id = field(answer, b"\"messageId\":\"").unwrap_or("-");
        let seq = number_of(answer, b"\"seq\":").unwrap_or_default();
        let counter = script::acknowledged(answer).unwrap_or_default();
        let line = format!("bench-{} {seq} {id} {}.{counter}.\n", self.room, self.index);
        journal.extend_from_slice(line.as_bytes());
    }

    /// An `error` event. With acknowledgements the refusal of a message has been told there already.
    fn error(&mut self, event: &[u8], script: &Script, tally: &mut Tally) {
        let is_send = contains(event, b"\"event\":\"message:send\"");
        match (is_send, script.durable) {
            (true, true) => {}
            (true, false) => self.refuse(event, script, tally),
            (false, _) => tally.fail(&complaint(event)),
        }
    }

    fn refuse(&mut self, complaint: &[u8], script: &Script, tally: &mut Tally) {
        let code = field(complaint, b"\"code\":\"").unwrap_or("no code");
        // At a rate the next one comes in its time.
        if !script.is_paced {
            let wait = number_of(complaint, b"\"retryAfter\":").unwrap_or(RETRY_AFTER_MS);
            self.resume_at = tally.now.saturating_add(wait.saturating_mul(1_000_000));
            if self.held == 0 {
                tally.paused.push(self.index);
            }
            self.held += 1;
        }
        tally.refuse(self.index, code, script);
    }

    /// Sends again what a refusal held back, if it is time. Says whether nothing is held any more.
    pub(super) fn resume(&mut self, script: &Script, tally: &mut Tally) -> bool {
        if tally.now < self.resume_at {
            return false;
        }
        for _ in 0..std::mem::take(&mut self.held) {
            self.send(script, tally);
        }
        self.post(script);
        true
    }

    /// Sends one message, if it is in its room.
    pub(super) fn say(&mut self, script: &Script, tally: &mut Tally) {
        if self.stage == Stage::Joined {
            self.send(script, tally);
            self.post(script);
        }
    }

    /// Sends the messages that this client keeps in flight.
    pub(super) fn start(&mut self, script: &Script, tally: &mut Tally) {
        for _ in 0..script.in_flight(self.index) {
            self.send(script, tally);
        }
        self.post(script);
    }

    fn send(&mut self, script: &Script, tally: &mut Tally) {
        let counter = tally.send(self.index, script);
        let stamp = Stamp { sender: self.index, counter, sent_at: tally.now };
        let mut packet = std::mem::take(&mut self.scratch);
        packet.clear();
        script.write_message(&mut packet, stamp);
        self.emit(&packet);
        self.scratch = packet;
    }

    fn connect(&mut self) {
        let packet = self.token.take().map_or("40".to_owned(), |token| format!("40{{\"token\":\"{token}\"}}"));
        self.emit(packet.as_bytes());
    }

    fn join(&mut self) {
        let packet = format!("420[\"room:join\",{{\"roomId\":\"bench-{}\"}}]", self.room);
        self.emit(packet.as_bytes());
    }

    /// Says goodbye.
    pub(super) fn finish(&mut self, script: &Script) {
        if self.stage >= Stage::Closing {
            return;
        }
        self.stage = Stage::Closing;
        match &mut self.wire {
            Wire::WebSocket { is_open: true } => {
                // 1000, a normal closure (RFC 6455, 7.4.1).
                websocket::write(&mut self.main_out, Outgoing::Close, mask(self.index), &[0x03, 0xe8]);
            }
            Wire::Polling(polling::Link { sid: Some(_), .. }) => {
                self.emit(b"1");
                self.post(script);
            }
            Wire::WebSocket { .. } | Wire::Polling(_) => self.stage = Stage::Closed,
        }
    }

    /// Counts what this client should have received and did not.
    pub(super) fn close_ledgers(&self, script: &Script, tally: &mut Tally) {
        tally.close_ledgers(self.room, &self.ledgers, script);
    }

    fn emit(&mut self, packet: &[u8]) {
        match &mut self.wire {
            Wire::WebSocket { .. } => websocket::write(&mut self.main_out, Outgoing::Text, mask(self.index), packet),
            Wire::Polling(link) => link.queue(packet),
        }
    }

    fn get(&mut self, script: &Script) {
        if let Wire::Polling(link) = &self.wire
            && self.stage < Stage::Closing
        {
            link.get(&mut self.main_out, &script.authority);
        }
    }

    fn post(&mut self, script: &Script) {
        if let Wire::Polling(link) = &mut self.wire {
            link.post(&mut self.post_out, &script.authority);
        }
    }
}

/// Each client's mask: not random, because no proxy needs to be protected from the payload here.
fn mask(index: usize) -> [u8; 4] {
    (index as u32 + 1).wrapping_mul(0x9e37_79b9).to_ne_bytes()
}

fn refused(bytes: &[u8]) -> Failure {
    Failure::Refused(complaint(bytes))
}

#[cfg(test)]
mod tests;
