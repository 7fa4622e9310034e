//! What all clients of a run have in common: who sits in which room, who sends, and what a message looks like.
//!
//! Owns the text of a message in both directions. Knows nothing of what has been sent.

use memchr::memmem::Finder;

use super::options::{Options, Transport};

/// How the frame begins that a broadcast multiplies.
pub(super) const MESSAGE_NEW: &[u8] = b"42[\"message:new\"";

/// The ack id of a sender's first message. 0 is that of `room:join`.
const FIRST_ACK_ID: u64 = 1;

/// Most digits of a number in a message: 19 always fit a `u64`.
const MAX_DIGITS: usize = 19;

/// The same for every client of a run.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) transport: Transport,
    /// The `Host` header's value.
    pub(super) authority: String,
    /// Whether each message asks for an acknowledgement.
    pub(super) durable: bool,
    /// Whether messages are sent at a rate, and not when one has come back.
    pub(super) is_paced: bool,
    /// Whether clients beyond those that take part come back, and do not stall.
    has_comers: bool,
    clients: usize,
    rooms: usize,
    senders: usize,
    in_flight: usize,
    payload: usize,
    content: Finder<'static>,
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The client that sent it.
    pub(super) sender: usize,
    /// Its place among its sender's messages, from 0.
    pub(super) counter: u64,
    /// When it was sent, in nanoseconds of the run.
    pub(super) sent_at: u64,
}

impl Script {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            transport: options.transport,
            authority: options.target.authority(),
            durable: options.durable,
            is_paced: options.rate > 0,
            has_comers: options.comers() > 0,
            clients: options.clients,
            rooms: options.rooms,
            senders: options.senders,
            in_flight: options.in_flight,
            payload: options.payload,
            content: Finder::new(b"\"content\":\""),
        }
    }

    /// The room of a client. Clients beyond those that take part are stalled ones, all in the first room, or come back,
    /// each to a room of its own in which nobody sends.
    pub(super) fn room(&self, client: usize) -> usize {
        if client < self.clients {
            client % self.rooms
        } else if self.has_comers {
            self.clients + client
        } else {
            0
        }
    }

    /// Whether a client is one of those that lose their connection.
    pub(super) fn is_comer(&self, client: usize) -> bool {
        self.has_comers && client >= self.clients
    }

    /// How many clients of the room count what they receive.
    pub(super) fn members(&self, room: usize) -> u64 {
        share(self.clients, self.rooms, room) as u64
    }

    /// The clients that send to a room.
    pub(super) fn senders(&self, room: usize) -> impl Iterator<Item = usize> {
        (room..self.senders).step_by(self.rooms)
    }

    /// The place of a client among the senders of its room, if it is one of the room's.
    pub(super) fn place(&self, room: usize, sender: usize) -> Option<usize> {
        (sender < self.senders && sender % self.rooms == room).then(|| sender / self.rooms)
    }

    /// How many messages a client keeps in flight: its share of its room's, 0 for one that does not send.
    pub(super) fn in_flight(&self, client: usize) -> usize {
        let room = self.room(client);
        let senders = share(self.senders, self.rooms, room);
        self.place(room, client).map_or(0, |place| share(self.in_flight, senders, place))
    }

    /// Writes a `message:send`, with an ack id if the run asks for acknowledgements.
    pub(super) fn write_message(&self, out: &mut Vec<u8>, stamp: Stamp) {
        out.extend_from_slice(b"42");
        if self.durable {
            push_number(out, stamp.counter + FIRST_ACK_ID);
        }
        out.extend_from_slice(b"[\"message:send\",{\"roomId\":\"bench-");
        push_number(out, self.room(stamp.sender) as u64);
        out.extend_from_slice(b"\",\"content\":\"");
        let start = out.len();
        for number in [stamp.sender as u64, stamp.counter, stamp.sent_at] {
            push_number(out, number);
            out.push(b'.');
        }
        out.resize(out.len().max(start + self.payload), b'x');
        out.extend_from_slice(b"\"}]");
    }

    /// Reads what a `message:new` says of itself; `None` for a message that is not of such a run.
    pub(super) fn read_message(&self, event: &[u8]) -> Option<Stamp> {
        let at = self.content.find(event)?;
        let text = event.get(at + self.content.needle().len()..)?;
        let (sender, text) = number(text, b'.')?;
        let (counter, text) = number(text, b'.')?;
        let (sent_at, _) = number(text, b'.')?;
        Some(Stamp { sender: usize::try_from(sender).ok()?, counter, sent_at })
    }
}

/// The counter of the message that an acknowledgement is for: `<id>[…]`.
pub(super) fn acknowledged(answer: &[u8]) -> Option<u64> {
    let (id, _) = number(answer, b'[')?;
    id.checked_sub(FIRST_ACK_ID)
}

/// How many of `things`, dealt out in turn to `hands`, the hand `at` gets.
fn share(things: usize, hands: usize, at: usize) -> usize {
    things / hands + usize::from(at < things % hands)
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut rest = number;
    let mut len = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        len += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - len..).unwrap_or_default());
}

/// A number that ends with `end`, and what follows that.
fn number(text: &[u8], end: u8) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in text.iter().enumerate().take(MAX_DIGITS + 1) {
        match byte {
            b'0'..=b'9' if at < MAX_DIGITS => value = value * 10 + u64::from(byte - b'0'),
            byte if *byte == end && at > 0 => return Some((value, text.get(at + 1..)?)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::options::Plan;
    use super::super::options::tests::options;
    use super::*;

    #[test]
    fn clients_senders_and_messages_are_dealt_out_in_turn() {
        let script = Script::new(&Options { rooms: 4, senders: 6, in_flight: 5, ..options(10) });
        assert_eq!((0..10).map(|client| script.room(client)).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]);
        assert_eq!((0..4).map(|room| script.members(room)).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!((0..10).map(|client| script.in_flight(client)).collect::<Vec<_>>(), [3, 3, 5, 5, 2, 2, 0, 0, 0, 0]);
        assert_eq!(script.senders(1).collect::<Vec<_>>(), [1, 5]);
        assert_eq!(
            (script.place(1, 1), script.place(1, 5), script.place(1, 9), script.place(0, 1)),
            (Some(0), Some(1), None, None)
        );
        assert_eq!(
            (script.room(10), script.in_flight(10)),
            (0, 0),
            "a stalled client sits in the first room and is silent"
        );
        let plan = Plan::Storm { comers: 2, calm: Duration::ZERO };
        let script = Script::new(&Options { rooms: 4, senders: 6, in_flight: 5, plan, ..options(10) });
        assert_eq!([9, 10, 11].map(|client| script.is_comer(client)), [false, true, true]);
        let rooms = [10, 11].map(|client| script.room(client));
        assert!(rooms[0] != rooms[1] && rooms.iter().all(|room| *room >= 10), "{rooms:?}");
        assert_eq!((script.senders(rooms[0]).count(), script.in_flight(10)), (0, 0));
    }

    #[test]
    fn a_message_is_as_long_as_asked_and_says_who_which_and_when() {
        let stamp = Stamp { sender: 3, counter: 1_000, sent_at: u64::MAX / 2 };
        let mut out = Vec::new();
        Script::new(&Options { rooms: 2, payload: 40, ..options(9) }).write_message(&mut out, stamp);
        let text = String::from_utf8(out).unwrap();
        let content = "3.1000.9223372036854775807.xxxxxxxxxxxxx";
        assert_eq!(content.len(), 40);
        assert_eq!(text, format!("42[\"message:send\",{{\"roomId\":\"bench-1\",\"content\":\"{content}\"}}]"));

        let short = Script::new(&Options { payload: 1, durable: true, ..options(9) });
        let mut out = Vec::new();
        short.write_message(&mut out, Stamp { sender: 0, counter: 9, sent_at: 10 });
        assert!(out.starts_with(b"4210[") && out.ends_with(b":\"0.9.10.\"}]"));

        let event = format!(",{{\"id\":\"\\\"content\\\":\\\"1.\",\"content\":\"{content}\",\"type\":\"text\"}}]");
        assert_eq!(short.read_message(event.as_bytes()), Some(stamp));
    }

    #[test]
    fn another_message_is_not_taken_for_one_of_ours() {
        let script = Script::new(&options(1));
        for content in ["", "Hello", "1.2", "1.2.3", "1..3.", ".1.2.", "1.2.x.", "-1.2.3.", "1.2.99999999999999999999."]
        {
            let event = format!("{{\"content\":\"{content}\"}}");
            assert_eq!(script.read_message(event.as_bytes()), None, "{content}");
        }
        assert_eq!(script.read_message(b"{}"), None);
    }
}
