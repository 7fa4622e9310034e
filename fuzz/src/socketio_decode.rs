//! All that one client says to one Socket.IO connection, in either form of packets and either revision.
//!
//! Oracle: a client's view of the connection, kept here beside it (which namespaces it has asked for and joined, which
//! attachments it owes), and serde_json's view of every payload.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use alt_ws_pure::ids::NamespaceId;
use alt_ws_pure::socketio::connection::{MAX_CONNECTS, MAX_NAMESPACES};
use alt_ws_pure::socketio::decode::ATTACHMENTS_TIMEOUT;
use alt_ws_pure::socketio::{
    Args, Connection, Incoming, MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_DEPTH, MAX_EVENT_NAME_BYTES,
    MAX_NAMESPACE_BYTES, Parser, ProtocolError, Revision,
};
use bytes::Bytes;
use serde_json::Value;

use crate::json;

/// More than a connection may join.
const NAMESPACES: &[&str] = &["/", "/admin", "/a", "/b", "/c", "/d"];

/// Far away, so that only attachments run late.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1 << 20);

type Verdict<'a> = Result<Option<Incoming<'a>>, ProtocolError>;

/// One message, and what happens around it.
struct Message<'i> {
    is_binary: bool,
    /// What the server says to a CONNECT.
    refuse: bool,
    /// How long after the one before it comes.
    after: Duration,
    bytes: &'i [u8],
}

/// The first byte chooses the form and the revision. Then messages: a byte of flags, two of length, the bytes.
pub fn check(input: &[u8]) {
    let Some((choice, mut rest)) = input.split_first() else { return };
    let parser = if choice & 1 == 0 { Parser::Json } else { Parser::MsgPack };
    let revision = if choice & 2 == 0 { Revision::V5 } else { Revision::V4 };
    let mut messages = Vec::new();
    while let Some(([flags, low, high], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (bytes, after) = after.split_at(length);
        messages.push(Message {
            is_binary: flags & 1 != 0,
            refuse: flags & 2 != 0,
            after: if flags & 4 != 0 { ATTACHMENTS_TIMEOUT } else { Duration::from_millis(1) },
            bytes,
        });
        rest = after;
    }
    let now = Instant::now();
    let first = run(parser, revision, &messages, now);
    assert_eq!(first, run(parser, revision, &messages, now), "the same messages, twice");
}

fn run<'i>(parser: Parser, revision: Revision, messages: &[Message<'i>], mut now: Instant) -> Vec<Verdict<'i>> {
    let mut connection = Connection::new(parser, revision, now, CONNECT_TIMEOUT);
    let mut view = View::default();
    let opening = connection.opening(NAMESPACES);
    assert_eq!(opening.is_some(), revision == Revision::V4);
    if let Some(incoming) = &opening {
        view.handle(incoming, 0);
        view.answer(&mut connection, false);
    }
    let mut verdicts = Vec::new();
    for message in messages {
        now += message.after;
        let verdict = if message.is_binary {
            connection.binary(Bytes::copy_from_slice(message.bytes), now, NAMESPACES)
        } else {
            let Ok(text) = str::from_utf8(message.bytes) else { break };
            connection.text(text, now, NAMESPACES)
        };
        let attachments = match parser {
            Parser::Json => view.owe(message, &verdict, now),
            Parser::MsgPack => {
                assert!(message.is_binary || verdict.is_err(), "a text where all is binary");
                match &verdict {
                    Ok(Some(Incoming::Ack { attachments, .. })) => attachments.len(),
                    Ok(Some(Incoming::Event { event, .. })) => event.attachments.len(),
                    _ => 0,
                }
            }
        };
        if let Ok(Some(incoming)) = &verdict {
            view.handle(incoming, attachments);
            view.answer(&mut connection, message.refuse);
        }
        let is_over = verdict.is_err();
        verdicts.push(verdict);
        if is_over {
            break;
        }
        view.compare(&mut connection, now);
    }
    verdicts
}

/// What a client that keeps to the rules knows.
#[derive(Default)]
struct View {
    pending: BTreeSet<NamespaceId>,
    joined: BTreeSet<NamespaceId>,
    has_joined: bool,
    connects: usize,
    /// Attachments that a header announced, those that came, and until when they may.
    owed: Option<(usize, usize, Instant)>,
}

impl View {
    /// Returns how many attachments the packet has that this message completes.
    fn owe(&mut self, message: &Message<'_>, verdict: &Verdict<'_>, now: Instant) -> usize {
        match (self.owed.take(), message.is_binary) {
            (None, true) => assert!(verdict.is_err(), "an attachment of nothing"),
            (Some(_), false) => assert!(verdict.is_err(), "a text where an attachment was due"),
            (Some((_, _, until)), true) if now >= until => assert!(verdict.is_err(), "an attachment that is late"),
            (Some((expected, came, until)), true) => match verdict {
                Err(_) => {}
                Ok(None) if came + 1 < expected => self.owed = Some((expected, came + 1, until)),
                // An ack without an id is ignored.
                Ok(_) => {
                    assert_eq!(came + 1, expected);
                    return expected;
                }
            },
            (None, false) if matches!(message.bytes, [b'5' | b'6', ..]) => {
                assert!(matches!(verdict, Err(_) | Ok(None)), "a packet without its attachments");
                if verdict.is_ok() {
                    let digits = message.bytes[1..].split(|byte| *byte == b'-').next().unwrap_or_default();
                    let expected = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                    let expected = expected.expect("a number of attachments");
                    assert!((1..=MAX_ATTACHMENTS).contains(&expected), "{expected} attachments are waited for");
                    self.owed = Some((expected, 0, now + ATTACHMENTS_TIMEOUT));
                }
            }
            (None, false) => {}
        }
        0
    }

    fn handle(&mut self, incoming: &Incoming<'_>, expected_attachments: usize) {
        match incoming {
            Incoming::Connect { namespace, auth } => {
                self.connects += 1;
                assert!(!self.joined.contains(namespace) && self.pending.insert(*namespace), "asked for twice");
                if let Some(auth) = auth {
                    assert!(auth.starts_with('{') && json::values(auth).is_some_and(|values| values.len() == 1));
                    assert!(json::depth(auth) <= MAX_DEPTH);
                }
            }
            Incoming::UnknownNamespace { name } => {
                self.connects += 1;
                assert!(!NAMESPACES.contains(&&**name) && name.len() <= MAX_NAMESPACE_BYTES);
                assert!(!name.chars().any(|c| c == '?' || c.is_control()), "what must not be written back");
            }
            Incoming::Event { namespace, event, .. } => {
                assert!(self.joined.contains(namespace), "an event where the client is not");
                assert!(event.name.len() <= MAX_EVENT_NAME_BYTES);
                check_args(&event.args, &event.attachments, expected_attachments);
            }
            Incoming::Ack { namespace, args, attachments, .. } => {
                assert!(self.joined.contains(namespace), "an ack where the client is not");
                check_args(args, attachments, expected_attachments);
            }
            Incoming::Disconnect { namespace } => {
                assert!(self.joined.remove(namespace), "left where it was not");
            }
        }
        assert!(self.connects <= usize::from(MAX_CONNECTS) + 1, "{} CONNECTs", self.connects);
        assert!(self.joined.len() + self.pending.len() <= MAX_NAMESPACES as usize);
    }

    fn answer(&mut self, connection: &mut Connection, refuse: bool) {
        while let Some(namespace) = self.pending.pop_first() {
            if refuse {
                assert!(connection.refuse(namespace));
            } else {
                assert!(connection.accept(namespace));
                self.joined.insert(namespace);
                self.has_joined = true;
            }
            assert!(!connection.accept(namespace) && !connection.refuse(namespace), "answered twice");
        }
    }

    fn compare(&self, connection: &mut Connection, now: Instant) {
        assert!(connection.connected().eq(self.joined.iter().copied()));
        // A clock runs for what is owed and for nothing else.
        match (connection.deadline(), self.owed, self.has_joined) {
            (None, None, true) => {}
            (Some(deadline), Some((_, _, until)), _) => assert_eq!(deadline, until),
            (Some(deadline), None, false) => assert!(deadline > now + ATTACHMENTS_TIMEOUT),
            (deadline, owed, joined) => panic!("{deadline:?} for {owed:?}, joined: {joined}"),
        }
        let is_late = connection.deadline().is_some_and(|deadline| deadline <= now);
        assert_eq!(connection.handle_timeout(now).is_err(), is_late);
    }
}

fn check_args(args: &Args<'_>, attachments: &[Bytes], expected: usize) {
    let values = json::values(args.raw()).expect("arguments are JSON values with commas between them");
    assert!(args.iter().eq(values.iter()), "the arguments are cut at other commas");
    assert_eq!(args.first(), values.first().map(String::as_str));
    // They stood in an array, which counts.
    assert!(json::depth(&format!("[{}]", args.raw())) <= MAX_DEPTH);
    assert_eq!(attachments.len(), expected);
    assert!(attachments.len() <= MAX_ATTACHMENTS);
    assert!(attachments.iter().map(Bytes::len).sum::<usize>() <= MAX_ATTACHMENT_BYTES);
    // Of a repeated member, and of half a surrogate pair, serde_json's values know nothing.
    if let Ok(value @ Value::Array(_)) = serde_json::from_str(&format!("[{}]", args.raw()))
        && !attachments.is_empty()
    {
        let named: Vec<_> = (0..attachments.len() as u64).map(Some).collect();
        let found = json::placeholders(&value);
        assert!(found == named || json::has_repeated_members(args.raw()), "{found:?} for {expected} attachments");
    }
}
