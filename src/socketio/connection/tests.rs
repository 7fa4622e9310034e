//! Conversations, good and hostile. Names that begin with `s` and a number are those of the list of hostile inputs.

use super::*;
use ProtocolError::{ConnectTimeout, ConnectTwice, NotConnected, TooManyConnects, TooManyNamespaces};

const OFFERED: &[&str] = &["/", "/a", "/b", "/c", "/d", "/e"];
const MAIN: NamespaceId = NamespaceId(0);
const A: NamespaceId = NamespaceId(1);
const TIMEOUT: Duration = Duration::from_secs(10);

struct Peer {
    connection: Connection,
    now: Instant,
}

impl Peer {
    fn new() -> Self {
        let now = Instant::now();
        Self { connection: Connection::new(Parser::Json, Revision::V5, now, TIMEOUT), now }
    }

    fn joined(text: &str, namespace: NamespaceId) -> Self {
        let mut peer = Self::new();
        peer.says(text).unwrap();
        assert!(peer.connection.accept(namespace));
        peer
    }

    fn says<'a>(&mut self, text: &'a str) -> Result<Option<Incoming<'a>>, ProtocolError> {
        self.connection.text(text, self.now, OFFERED)
    }

    fn sends(&mut self, data: &'static [u8]) -> Result<Option<Incoming<'static>>, ProtocolError> {
        self.connection.binary(Bytes::from_static(data), self.now, OFFERED)
    }
}

#[test]
fn a_client_joins_speaks_answers_and_leaves() {
    let mut peer = Peer::new();
    let asked = peer.says("0/a,{\"token\":\"t\"}").unwrap().unwrap();
    assert_eq!(asked, Incoming::Connect { namespace: A, auth: Some("{\"token\":\"t\"}".into()) });
    assert!(!peer.connection.is_connected(A), "asking is not joining");
    assert!(peer.connection.accept(A));
    assert!(!peer.connection.accept(A), "once");
    assert!(peer.connection.is_connected(A));

    let event = |name: &'static str, raw: &'static str, attachments| Event {
        name: name.into(),
        args: Args::from_raw(raw),
        attachments,
    };
    assert_eq!(
        peer.says("2/a,7[\"hi\",1,[2]]").unwrap().unwrap(),
        Incoming::Event { namespace: A, event: event("hi", "1,[2]", vec![]), ack: Some(AckId(7)) }
    );
    assert_eq!(peer.says("51-/a,[\"bin\",{\"_placeholder\":true,\"num\":0}]"), Ok(None));
    let raw = "{\"_placeholder\":true,\"num\":0}";
    assert_eq!(
        peer.sends(b"xyz").unwrap().unwrap(),
        Incoming::Event { namespace: A, event: event("bin", raw, vec!["xyz".into()]), ack: None }
    );
    let ack = |raw: &'static str, attachments| Incoming::Ack {
        namespace: A,
        id: AckId(3),
        args: Args::from_raw(raw),
        attachments,
    };
    assert_eq!(peer.says("3/a,3[true,null]").unwrap().unwrap(), ack("true,null", vec![]));
    assert_eq!(peer.says("61-/a,3[{\"_placeholder\":true,\"num\":0}]"), Ok(None));
    assert_eq!(peer.sends(b"").unwrap().unwrap(), ack(raw, vec![Bytes::new()]));

    assert_eq!(peer.says("1/a,").unwrap().unwrap(), Incoming::Disconnect { namespace: A });
    assert!(!peer.connection.is_connected(A));
    assert_eq!(peer.says("0/a,").unwrap().unwrap(), Incoming::Connect { namespace: A, auth: None });
}

#[test]
fn s9_an_ack_that_answers_nothing_is_ignored() {
    let mut peer = Peer::joined("0", MAIN);
    for text in ["3", "3[]", "3[\"a\"]"] {
        assert_eq!(peer.says(text), Ok(None), "{text}");
    }
    assert!(matches!(peer.says("3999[]"), Ok(Some(Incoming::Ack { id: AckId(999), .. }))), "for PendingAcks to know");
    assert!(matches!(peer.says("2[\"needs-ack\"]"), Ok(Some(Incoming::Event { ack: None, .. }))));
}

#[test]
fn s11_unknown_namespaces_are_answered_a_few_times() {
    let mut peer = Peer::new();
    for name in ["/nope", "//", "/../", "/\u{202e}x", "/A", "/a/", "/a b"] {
        let text = format!("0{name},");
        assert_eq!(peer.says(&text).unwrap().unwrap(), Incoming::UnknownNamespace { name: name.into() });
    }
    assert_eq!(peer.says("2/nope,[\"a\"]"), Err(NotConnected));
    let mut peer = Peer::new();
    let answered = (0..100_000).take_while(|n| peer.says(&format!("0/n{n},")).is_ok()).count();
    assert_eq!(answered, usize::from(MAX_CONNECTS));
    assert_eq!(peer.says("0"), Err(TooManyConnects), "of any kind");
}

#[test]
fn s11_joining_and_leaving_over_and_over_comes_to_an_end() {
    let mut peer = Peer::new();
    let rounds = (0..1_000_000)
        .take_while(|_| peer.says("0").is_ok() && peer.connection.accept(MAIN) && peer.says("1").is_ok())
        .count();
    assert_eq!(rounds, usize::from(MAX_CONNECTS));
}

#[test]
fn s11_four_namespaces_are_the_most_joined_or_waiting() {
    let mut peer = Peer::joined("0", MAIN);
    for text in ["0/a,", "0/b,", "0/c,"] {
        peer.says(text).unwrap();
    }
    peer.connection.refuse(A);
    peer.says("0/d,").unwrap();
    assert_eq!(peer.says("0/e,"), Err(TooManyNamespaces));
    assert!(peer.connection.disconnect(MAIN));
    assert!(peer.says("0/e,").is_ok());
}

#[test]
fn s12_a_packet_before_connect_ends_the_connection() {
    for text in ["2[\"a\"]", "20[\"a\"]", "30[]", "3[]", "1", "2/a,[\"a\"]", "1/a,"] {
        assert_eq!(Peer::new().says(text), Err(NotConnected), "{text}: never asked");
        let mut peer = Peer::new();
        peer.says("0").unwrap();
        peer.says("0/a,").unwrap();
        assert_eq!(peer.says(text), Err(NotConnected), "{text}: not answered yet");
    }
    assert_eq!(Peer::joined("0", MAIN).says("2/a,[\"a\"]"), Err(NotConnected), "another namespace");
    let mut peer = Peer::joined("0", MAIN);
    peer.says("1").unwrap();
    assert_eq!(peer.says("2[\"a\"]"), Err(NotConnected), "after leaving");
    let mut peer = Peer::joined("0", MAIN);
    assert!(peer.connection.disconnect(MAIN));
    assert!(!peer.connection.disconnect(MAIN));
    assert_eq!(peer.says("2[\"a\"]"), Err(NotConnected), "after being put out");
}

#[test]
fn s12_connect_twice_ends_the_connection() {
    assert_eq!(Peer::joined("0", MAIN).says("0"), Err(ConnectTwice));
    let mut peer = Peer::new();
    peer.says("0{}").unwrap();
    assert_eq!(peer.says("0{}"), Err(ConnectTwice), "while the first waits");
    let mut peer = Peer::new();
    peer.says("0").unwrap();
    assert!(peer.connection.refuse(MAIN));
    assert!(!peer.connection.accept(MAIN), "a refusal stands");
    assert!(peer.says("0").is_ok(), "another try after a refusal");
    for text in ["0[]", "0\"x\"", "4{\"message\":\"x\"}"] {
        assert!(matches!(Peer::new().says(text), Err(ProtocolError::Decode(_))), "{text}");
    }
}

#[test]
fn s12_a_client_that_joins_nothing_in_time_is_closed() {
    let mut peer = Peer::new();
    let deadline = peer.now + TIMEOUT;
    peer.says("0/nope,").unwrap();
    peer.says("0/a,").unwrap();
    peer.connection.refuse(A);
    assert_eq!(peer.connection.deadline(), Some(deadline), "only success stops the clock");
    assert_eq!(peer.connection.handle_timeout(deadline - Duration::from_nanos(1)), Ok(()));
    assert_eq!(peer.connection.handle_timeout(deadline), Err(ConnectTimeout));
    peer.says("0").unwrap();
    assert!(peer.connection.accept(MAIN));
    peer.says("1").unwrap();
    assert_eq!(peer.connection.deadline(), None, "and nothing starts it again");
    assert_eq!(peer.connection.handle_timeout(deadline), Ok(()));
}

#[test]
fn s6_the_clock_of_attachments_runs_beside_the_other() {
    let mut peer = Peer::joined("0", MAIN);
    peer.says("51-[\"a\",{\"_placeholder\":true,\"num\":0}]").unwrap();
    let deadline = peer.connection.deadline().unwrap();
    assert_eq!(peer.connection.handle_timeout(deadline - Duration::from_nanos(1)), Ok(()));
    assert_eq!(peer.connection.handle_timeout(deadline), Err(DecodeError::AttachmentsLate.into()));
    assert_eq!(peer.says("2[\"a\"]"), Err(DecodeError::UnexpectedText.into()));
    assert_eq!(peer.sends(b"x"), Err(DecodeError::UnexpectedBinary.into()));
    let mut early = Peer::new();
    early.now += Duration::from_secs(5);
    early.says("51-[\"a\",{\"_placeholder\":true,\"num\":0}]").unwrap();
    assert_eq!(early.connection.deadline(), Some(early.now + Duration::from_secs(5)), "the earlier of the two");
}

#[test]
fn namespaces_are_listed_and_those_beyond_the_eighth_do_not_exist() {
    let offered = ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"];
    let mut peer = Peer::new();
    for text in ["0/7,", "0/2,"] {
        peer.connection.text(text, peer.now, &offered).unwrap();
    }
    assert!(peer.connection.accept(NamespaceId(7)) && peer.connection.accept(NamespaceId(2)));
    assert_eq!(peer.connection.connected().collect::<Vec<_>>(), [NamespaceId(2), NamespaceId(7)]);
    let ninth = peer.connection.text("0/8,", peer.now, &offered).unwrap();
    assert_eq!(ninth, Some(Incoming::UnknownNamespace { name: "/8".into() }));
    assert!(!peer.connection.accept(NamespaceId(8)) && !peer.connection.is_connected(NamespaceId(200)));
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Connection>() <= 32, "{}", size_of::<Connection>());
}

/// A client of revision 4 that has just opened its connection.
fn old() -> Peer {
    let now = Instant::now();
    let mut peer = Peer { connection: Connection::new(Parser::Json, Revision::V4, now, TIMEOUT), now };
    assert_eq!(peer.connection.opening(OFFERED), Some(Incoming::Connect { namespace: MAIN, auth: None }));
    peer
}

#[test]
fn opening_a_connection_asks_for_the_main_namespace_in_revision_4_alone() {
    assert_eq!(Peer::new().connection.opening(OFFERED), None);
    let mut peer = old();
    assert!(!peer.connection.is_connected(MAIN));
    assert!(peer.connection.accept(MAIN));
    assert!(matches!(peer.says("2[\"hi\"]"), Ok(Some(Incoming::Event { namespace: MAIN, .. }))));
    assert_eq!(peer.connection.deadline(), None);
    let mut connection = Connection::new(Parser::Json, Revision::V4, Instant::now(), TIMEOUT);
    assert_eq!(connection.opening(&["/only"]), None, "where there is none, there is nothing to ask for");
}

#[test]
fn in_revision_4_a_connect_for_the_main_namespace_is_harmless() {
    for text in ["0", "0/", "0/,", "0/?token=secret", "0?token=secret"] {
        let mut peer = old();
        assert_eq!(peer.says(text), Ok(None), "{text}: still waiting");
        assert!(peer.connection.accept(MAIN));
        assert_eq!(peer.says(text), Ok(None), "{text}: already there");
    }
    let mut peer = old();
    assert!(peer.connection.refuse(MAIN));
    let asked = Incoming::Connect { namespace: MAIN, auth: None };
    assert_eq!(peer.says("0"), Ok(Some(asked)), "who was refused may ask again");
    let mut peer = old();
    for _ in 0..MAX_CONNECTS {
        assert_eq!(peer.says("0"), Ok(None));
    }
    assert_eq!(peer.says("0"), Err(TooManyConnects));
}

#[test]
fn in_revision_4_a_namespace_may_carry_a_query_which_counts_for_nothing() {
    for text in ["0/a", "0/a,", "0/a?token=secret", "0/a?token=secret,", "0/a?,", "0/a?x=1?y=/b,"] {
        let mut peer = old();
        assert_eq!(peer.says(text), Ok(Some(Incoming::Connect { namespace: A, auth: None })), "{text}");
        assert!(peer.connection.accept(A));
        assert_eq!(peer.says("0/a,"), Err(ConnectTwice));
    }
    let unknown = Incoming::UnknownNamespace { name: "/nowhere".into() };
    assert_eq!(old().says("0/nowhere?a=1,"), Ok(Some(unknown)));
}

#[test]
fn s11_s12_what_is_no_connect_of_revision_4_ends_the_connection() {
    let long = format!("0/{}?x", "a".repeat(1_000_000));
    for (text, error) in [
        ("0{\"token\":\"t\"}", DecodeError::Payload),
        ("0/a,{\"token\":\"t\"}", DecodeError::Payload),
        ("0/a?x=1,{}", DecodeError::Payload),
        ("07", DecodeError::Payload),
        ("0/\0a", DecodeError::Namespace),
        (&long, DecodeError::Namespace),
        ("2/a?x=1,[\"hi\"]", DecodeError::Namespace),
    ] {
        assert_eq!(old().says(text), Err(error.into()), "{text:.40}");
    }
    for text in ["2/a,[\"hi\"]", "1/a,"] {
        assert_eq!(old().says(text), Err(NotConnected), "{text}");
    }
    let mut peer = old();
    assert!(peer.connection.accept(MAIN));
    assert_eq!(peer.says("51-[\"bin\",{\"_placeholder\":true,\"num\":0}]"), Ok(None));
    assert_eq!(peer.says("0"), Err(DecodeError::UnexpectedText.into()), "not between a packet and its attachments");
}

#[test]
fn with_messagepack_every_binary_message_is_a_packet_and_text_is_none() {
    let now = Instant::now();
    let mut connection = Connection::new(Parser::MsgPack, Revision::V5, now, TIMEOUT);
    let sends = |connection: &mut Connection, packet: &'static [u8]| {
        connection.binary(Bytes::from_static(packet), now, OFFERED)
    };
    let asked = sends(&mut connection, b"\x83\xa4type\0\xa4data\x81\xa5token\xa1t\xa3nsp\xa2/a").unwrap();
    assert_eq!(asked, Some(Incoming::Connect { namespace: A, auth: Some("{\"token\":\"t\"}".into()) }));
    assert!(connection.accept(A));
    let event = sends(&mut connection, b"\x84\xa4type\x02\xa4data\x92\xa2hi\xc4\x02xy\xa2id\x07\xa3nsp\xa2/a").unwrap();
    let expected = Event {
        name: "hi".into(),
        args: Args::from_raw("{\"_placeholder\":true,\"num\":0}"),
        attachments: vec![Bytes::from_static(b"xy")],
    };
    assert_eq!(event, Some(Incoming::Event { namespace: A, event: expected, ack: Some(AckId(7)) }));
    assert_eq!(connection.deadline(), None, "nothing is waited for");
    assert_eq!(
        sends(&mut connection, b"\x83\xa4type\x02\xa4data\x91\xa2hi\xa3nsp\xa1/"),
        Err(ProtocolError::NotConnected)
    );
    assert_eq!(sends(&mut connection, b"xy"), Err(DecodeError::MsgPack.into()));
    assert_eq!(connection.text("2/a,[\"hi\"]", now, OFFERED), Err(DecodeError::TextPacket.into()));
}
