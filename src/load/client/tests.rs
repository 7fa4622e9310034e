use super::super::options::Options;
use super::super::options::tests::options;
use super::super::websocket::tests::{from_client, from_server};
use super::*;

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

/// A client and what has been fed to it, in pieces of `piece` bytes, keeping the rest as the driver does.
struct World {
    script: Script,
    tally: Tally,
    client: Client,
    piece: usize,
    unfinished: [Vec<u8>; 2],
}

impl World {
    fn new(index: usize, options: &Options, piece: usize) -> Self {
        let script = Script::new(options);
        let client = Client::new(index, Some("TOKEN".into()), &script);
        let mut tally = Tally::default();
        tally.is_sending = true;
        Self { script, tally, client, piece, unfinished: Default::default() }
    }

    /// A client over a WebSocket that has joined its room.
    fn joined(index: usize, options: &Options, piece: usize) -> Self {
        let mut world = Self::new(index, options, piece);
        world.feed(Channel::Main, SWITCHING).unwrap();
        for packet in ["0{\"sid\":\"abc\"}", "40{\"sid\":\"def\"}", "430[{\"ok\":true}]"] {
            world.text(packet).unwrap();
        }
        assert_eq!(world.client.stage(), Stage::Joined);
        world.said();
        world
    }

    fn feed(&mut self, channel: Channel, bytes: &[u8]) -> Result<(), Failure> {
        for piece in bytes.chunks(self.piece) {
            let unfinished = &mut self.unfinished[channel as usize];
            unfinished.extend_from_slice(piece);
            let used = self.client.receive(channel, unfinished, &self.script, &mut self.tally)?;
            unfinished.drain(..used);
        }
        Ok(())
    }

    fn text(&mut self, packet: &str) -> Result<(), Failure> {
        self.feed(Channel::Main, &from_server(0x81, packet.as_bytes()))
    }

    fn body(&mut self, channel: Channel, body: &str) -> Result<(), Failure> {
        self.feed(channel, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    }

    /// A `message:new` as the server words it, from `sender` to `room`.
    fn message(&mut self, sender: usize, counter: u64) {
        self.text(&message_new(&format!("{sender}.{counter}.7.xxxx"))).unwrap();
    }

    /// The packets that the client wrote to its WebSocket.
    fn said(&mut self) -> Vec<String> {
        let out = std::mem::take(self.client.output(Channel::Main));
        let mut rest = out
            .strip_prefix(b"GET ")
            .map_or(out.as_slice(), |get| &get[memchr::memmem::find(get, b"\r\n\r\n").unwrap() + 4..]);
        let mut packets = Vec::new();
        while !rest.is_empty() {
            let (first, payload, after) = from_client(rest);
            let text = String::from_utf8_lossy(&payload).into_owned();
            packets.push(if first == 0x81 { text } else { format!("{first:x}:{text}") });
            rest = after;
        }
        packets
    }
}

fn message_new(content: &str) -> String {
    format!(
        "42[\"message:new\",{{\"_id\":\"65b0f1a2c3d4e5f601020304\",\"conversationId\":\"bench-0\",\"userId\":\"u0\",\
         \"content\":\"{content}\",\"type\":\"text\",\"seq\":1}}]"
    )
}

#[test]
fn a_websocket_client_connects_joins_and_answers_pings_however_the_bytes_are_split() {
    for piece in [1, 2, 3, 7, 64, usize::MAX] {
        let mut world = World::new(5, &Options { rooms: 3, ..options(9) }, piece);
        assert!(
            world.client.output(Channel::Main).starts_with(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n")
        );
        let stream = [
            SWITCHING,
            &from_server(0x81, b"0{\"sid\":\"abc\",\"pingInterval\":25000}"),
            &from_server(0x81, b"40{\"sid\":\"def\"}"),
            &from_server(0x81, b"42[\"room:joined\",{\"roomId\":\"bench-2\"}]"),
            &from_server(0x81, &[&b"42[\"user:joined\","[..], &[b' '; 70_000], b"{}]"].concat()),
            &from_server(0x81, b"430[{\"ok\":true}]"),
            &from_server(0x81, b"2"),
            &from_server(0x89, b"hi"),
        ];
        world.feed(Channel::Main, &stream.concat()).unwrap();
        let expected = ["40{\"token\":\"TOKEN\"}", "420[\"room:join\",{\"roomId\":\"bench-2\"}]", "3", "8a:hi"];
        assert_eq!(world.said(), expected, "in pieces of {piece}");
        assert_eq!((world.client.stage(), world.tally.joined), (Stage::Joined, 1));
    }
}

#[test]
fn at_a_rate_a_client_sends_when_it_is_asked_to_and_keeps_a_journal() {
    let mut world = World::new(0, &Options { durable: true, rate: 9, ..options(1) }, usize::MAX);
    world.client.say(&world.script, &mut world.tally);
    assert_eq!(world.tally.sent, 0, "it is not in its room yet");
    let mut world = World::joined(0, &Options { durable: true, rate: 9, ..options(1) }, usize::MAX);
    world.tally.journal = Some(Vec::new());
    for _ in 0..3 {
        world.client.say(&world.script, &mut world.tally);
    }
    assert_eq!(world.said().len(), 3);
    world.text("432[{\"ok\":true,\"messageId\":\"65b0\",\"timestamp\":\"x\",\"seq\":7}]").unwrap();
    world.text("431[{\"ok\":false,\"error\":{\"code\":\"busy\",\"retryAfter\":5}}]").unwrap();
    world.message(0, 1);
    assert_eq!(world.said(), [""; 0], "neither an answer nor a return leads to the next");
    assert_eq!(world.tally.journal.as_deref(), Some(&b"bench-0 7 65b0 0.1.\n"[..]));
    assert!(world.tally.paused.is_empty() && world.tally.refused == 1 && world.tally.unanswered_now() == 1);
}

#[test]
fn a_client_that_is_told_that_the_server_goes_away_counts_once_and_is_answered_until_the_end() {
    let mut world = World::joined(0, &Options { durable: true, rate: 1, ..options(1) }, usize::MAX);
    world.client.say(&world.script, &mut world.tally);
    for _ in 0..2 {
        world.text("42[\"server:draining\",{\"reconnectIn\":500}]").unwrap();
    }
    assert!(world.client.is_told() && world.tally.told == 1);
    world.text("431[{\"ok\":true,\"seq\":1}]").unwrap();
    assert_eq!(world.tally.acked, 1);
    assert_eq!(world.feed(Channel::Main, &from_server(0x88, b"\x03\xe8")), Err(Failure::ClosedWith(1000)));
}

#[test]
fn a_polling_client_asks_posts_one_at_a_time_and_asks_again() {
    for piece in [1, 5, usize::MAX] {
        let options = Options { transport: Transport::Polling, ..options(1) };
        let mut world = World::new(0, &options, piece);
        let take =
            |world: &mut World, channel| String::from_utf8(std::mem::take(world.client.output(channel))).unwrap();
        let asks = |text: String| text.starts_with("GET ") && text.contains("&sid=abc ");
        assert!(take(&mut world, Channel::Main).starts_with("GET /socket.io/?EIO=4&transport=polling HTTP"));
        world.body(Channel::Main, "0{\"sid\":\"abc\"}").unwrap();
        assert!(take(&mut world, Channel::Post).ends_with("\r\n\r\n40{\"token\":\"TOKEN\"}"));
        assert!(asks(take(&mut world, Channel::Main)));
        world.body(Channel::Main, "40{\"sid\":\"def\"}\u{1e}2").unwrap();
        assert_eq!(take(&mut world, Channel::Post), "", "the first POST is not answered yet");
        world.body(Channel::Post, "ok").unwrap();
        assert!(
            take(&mut world, Channel::Post).ends_with("\r\n\r\n420[\"room:join\",{\"roomId\":\"bench-0\"}]\u{1e}3")
        );
        world.body(Channel::Post, "ok").unwrap();
        world.body(Channel::Main, "42[\"room:joined\",{}]\u{1e}430[{\"ok\":true}]").unwrap();
        assert_eq!(world.client.stage(), Stage::Joined);
        world.client.start(&world.script, &mut world.tally);
        assert!(take(&mut world, Channel::Post).contains("42[\"message:send\""));
        world.client.finish(&world.script);
        world.body(Channel::Post, "ok").unwrap();
        assert!(take(&mut world, Channel::Post).ends_with("\r\n\r\n1"));
        assert_eq!(world.client.stage(), Stage::Closing, "the goodbye itself is not answered yet");
        world.body(Channel::Post, "ok").unwrap();
        assert_eq!(world.client.stage(), Stage::Closed);
    }
}

#[test]
fn a_lost_a_doubled_and_a_swapped_message_are_counted_as_such() {
    // Messages as they arrive of five that were sent: lost, duplicated, reordered, deliveries.
    let cases: &[(&[u64], [u64; 4])] = &[
        (&[0, 1, 2, 3, 4], [0, 0, 0, 5]),
        (&[0, 1, 3, 4], [1, 0, 0, 4]),
        (&[0, 1, 2, 3], [1, 0, 0, 4]),
        (&[1, 2, 3, 4], [1, 0, 0, 4]),
        (&[], [5, 0, 0, 0]),
        (&[0, 1, 1, 2, 3, 4], [0, 1, 0, 5]),
        (&[0, 2, 1, 3, 4], [0, 0, 1, 5]),
        (&[4, 0, 0, 2], [2, 1, 2, 3]),
    ];
    for piece in [1, usize::MAX] {
        for (arrivals, [lost, duplicated, reordered, deliveries]) in cases {
            let mut world = World::joined(1, &options(2), piece);
            (0..5).for_each(|_| _ = world.tally.send(0, &world.script));
            arrivals.iter().for_each(|counter| world.message(0, *counter));
            world.client.close_ledgers(&world.script, &mut world.tally);
            let tally = &world.tally;
            let found = [tally.lost, tally.duplicated, tally.reordered, tally.deliveries];
            assert_eq!(found, [*lost, *duplicated, *reordered, *deliveries], "{arrivals:?}");
            assert_eq!(tally.strayed, 0);
        }
    }
}

#[test]
fn senders_of_a_room_are_counted_apart() {
    let mut world = World::joined(2, &Options { rooms: 2, senders: 4, in_flight: 2, ..options(4) }, usize::MAX);
    for sender in [0, 0, 2, 2] {
        world.tally.send(sender, &world.script);
    }
    world.tally.is_sending = false;
    for (sender, counter) in [(2, 0), (0, 0), (2, 1)] {
        world.message(sender, counter);
    }
    assert!(!world.tally.is_complete());
    world.client.close_ledgers(&world.script, &mut world.tally);
    assert_eq!((world.tally.deliveries, world.tally.lost, world.tally.reordered), (3, 1, 0));
}

#[test]
fn what_was_not_sent_here_strays() {
    let mut world = World::joined(0, &Options { rooms: 2, senders: 2, ..options(4) }, usize::MAX);
    world.tally.send(1, &world.script);
    for content in ["0.0.7.", "1.0.7.", "3.0.7.", "Hello", "18446744073709551615.0.7."] {
        world.text(&message_new(content)).unwrap();
    }
    assert_eq!((world.tally.strayed, world.tally.deliveries), (5, 0));
}

#[test]
fn a_sender_keeps_its_share_in_flight_and_goes_on_when_its_own_message_returns() {
    let mut world = World::joined(0, &Options { senders: 2, in_flight: 5, ..options(3) }, usize::MAX);
    world.client.start(&world.script, &mut world.tally);
    let said = world.said();
    assert_eq!(said.len(), 3);
    assert!(said[2].starts_with("42[\"message:send\",{\"roomId\":\"bench-0\",\"content\":\"0.2.0.xxx"), "{}", said[2]);
    world.tally.send(1, &world.script);
    world.message(1, 0);
    assert!(world.said().is_empty(), "another's message is no reason to speak");
    world.tally.now = 9;
    world.message(0, 0);
    world.message(0, 0);
    assert!(world.said()[0].contains("\"content\":\"0.3.9."), "one, and not for the double");
    world.tally.is_sending = false;
    world.message(0, 1);
    assert!(world.said().is_empty());
    assert_eq!((world.tally.sent, world.tally.deliveries, world.tally.duplicated), (5, 3, 1));
    assert_eq!(world.tally.latency.max(), 2, "from 7 to 9");
}

#[test]
fn with_acknowledgements_the_next_message_waits_for_one() {
    let mut world = World::joined(0, &Options { durable: true, ..options(1) }, usize::MAX);
    world.client.start(&world.script, &mut world.tally);
    assert!(world.said()[0].starts_with("421[\"message:send\""));
    world.message(0, 0);
    assert!(world.said().is_empty() && !world.tally.is_complete());
    world.text("431[{\"ok\":true,\"seq\":1}]").unwrap();
    assert!(world.said()[0].starts_with("422[\"message:send\""));
    for answer in ["431[{\"ok\":true}]", "430[{\"ok\":true}]", "4377[{\"ok\":true}]", "43[]"] {
        world.text(answer).unwrap();
    }
    assert!(world.said().is_empty());
    assert_eq!((world.tally.acked, world.tally.errors.values().sum::<u64>()), (1, 4));
    world.tally.close();
    assert_eq!(world.tally.unanswered, 1);
}

#[test]
fn what_the_server_refuses_is_not_lost_and_is_said_again_later() {
    let error = "42[\"error\",{\"message\":\"no\",\"code\":\"busy\",\"event\":\"message:send\",\"retryAfter\":2000}]";
    let nack = "431[{\"ok\":false,\"error\":{\"code\":\"busy\",\"message\":\"no\",\"retryAfter\":2000}}]";
    for (durable, told) in [(false, &[error][..]), (true, &[error, nack])] {
        let mut world = World::joined(0, &Options { durable, ..options(1) }, usize::MAX);
        world.client.start(&world.script, &mut world.tally);
        told.iter().for_each(|text| world.text(text).unwrap());
        assert_eq!((world.tally.refused, world.tally.paused.as_slice()), (1, &[0][..]));
        assert!(world.tally.is_complete() && world.tally.errors.contains_key("message:send refused: busy"));
        world.said();
        world.tally.now = 1_999_999_999;
        assert!(!world.client.resume(&world.script, &mut world.tally) && world.said().is_empty());
        world.tally.now += 1;
        assert!(world.client.resume(&world.script, &mut world.tally));
        assert!(world.said()[0].contains("\"content\":\"0.1."));
        world.message(0, 1);
        world.tally.is_sending = false;
        world.client.close_ledgers(&world.script, &mut world.tally);
        let sent_and_missing = world.tally.sent - 2;
        assert_eq!((world.tally.lost, world.tally.reordered), (sent_and_missing, 0));
    }
}

#[test]
fn a_client_that_is_not_let_in_says_why() {
    let refused = |text: &str| Err(Failure::Refused(text.to_owned()));
    let cases = [
        ("44{\"message\":\"Invalid token\",\"data\":{}}", refused("Invalid token")),
        ("44nonsense", refused("nonsense")),
        ("41", Err(Failure::Closed)),
        ("1", Err(Failure::Closed)),
        ("40{}", Ok(())),
    ];
    for (packet, outcome) in cases {
        let mut world = World::new(0, &options(1), usize::MAX);
        world.feed(Channel::Main, SWITCHING).unwrap();
        world.text("0{\"sid\":\"abc\"}").unwrap();
        assert_eq!(world.text(packet), outcome, "{packet}");
    }
    let mut world = World::new(0, &options(1), usize::MAX);
    assert_eq!(world.feed(Channel::Main, b"HTTP/1.1 403 Forbidden\r\n\r\n"), Err(Failure::Status(403)));
    let mut world = World::new(0, &options(1), usize::MAX);
    world.feed(Channel::Main, SWITCHING).unwrap();
    world.text("0{}").unwrap();
    world.text("40{}").unwrap();
    let denied =
        "430[{\"ok\":false,\"error\":{\"code\":\"access_denied\",\"message\":\"Access denied to this room\"}}]";
    assert_eq!(world.text(denied), refused("Access denied to this room"));
}

#[test]
fn goodbyes_end_well_and_surprises_do_not() {
    let mut world = World::joined(0, &options(1), 1);
    world.client.finish(&world.script);
    assert_eq!(world.said(), ["88:\u{3}\u{fffd}"]);
    world.message(0, 0);
    world.feed(Channel::Main, &from_server(0x88, &[3, 0xe8])).unwrap();
    assert_eq!(world.client.stage(), Stage::Closed);

    let close = from_server(0x88, &[0x03, 0xea]);
    let mut world = World::joined(0, &options(1), 1);
    assert_eq!(world.feed(Channel::Main, &close), Err(Failure::ClosedWith(1002)));
    let mut world = World::joined(0, &options(1), usize::MAX);
    assert!(matches!(world.feed(Channel::Main, &[0x01, 0]), Err(Failure::Protocol(_))));
}
