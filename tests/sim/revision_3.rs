//! What the rules of the session are in revision 3: the client pings. Times are seconds from its opening.

use std::time::{Duration, Instant};

use alt_ws::engineio::handshake::Dialect;
use alt_ws::engineio::session::{CloseReason, Revision, Transport};

use super::scenarios::{ended, hears};
use super::server::{ROOMY, Server};

const SECOND: Duration = Duration::from_secs(1);

fn open(transport: Transport) -> Server {
    Server::open_in(Dialect::V3 { base64: false }, transport, ROOMY, Instant::now())
}

/// A session whose probe, on WebSocket 7, is answered.
fn upgrading() -> Server {
    let mut server = open(Transport::Polling);
    server.open_websocket(7);
    server.websocket_says(7, "2probe");
    assert_eq!(hears(&mut server), ["7: 3probe"]);
    server
}

#[test]
fn the_client_pings_and_each_ping_is_answered_with_its_data() {
    let mut server = open(Transport::Polling);
    server.poll(1);
    server.post(2, "1:2");
    assert_eq!(hears(&mut server), ["post 2: ok", "poll 1: 1:3"]);
    server.post(3, "6:2hellö1:2");
    server.poll(4);
    assert_eq!(hears(&mut server), ["post 3: ok", "poll 4: 6:3hellö1:3"]);

    let mut server = open(Transport::WebSocket);
    for (said, heard) in [("2", "0: 3"), ("2hello", "0: 3hello"), ("2probe", "0: 3probe")] {
        server.websocket_says(0, said);
        assert_eq!(hears(&mut server), [heard]);
    }
}

#[test]
fn the_server_never_pings_and_waits_for_interval_and_timeout_from_the_last_ping() {
    for mut server in [open(Transport::Polling), open(Transport::WebSocket)] {
        let is_polling = server.session.transport() == Transport::Polling;
        for round in 0..5 {
            server.wait(45 * SECOND - Duration::from_nanos(1));
            assert!(server.session.is_open(), "{round}");
            assert!(hears(&mut server).is_empty(), "nothing of its own accord");
            if is_polling {
                server.post(1, "1:2");
                server.poll(2);
                assert_eq!(hears(&mut server), ["post 1: ok", "poll 2: 1:3"]);
            } else {
                server.websocket_says(0, "2");
                assert_eq!(hears(&mut server), ["0: 3"]);
            }
        }
        server.wait(45 * SECOND - Duration::from_nanos(1));
        assert!(server.session.is_open());
        server.wait(Duration::from_nanos(1));
        ended(&server, CloseReason::PingTimeout);
    }
}

#[test]
fn messages_are_no_pings() {
    let mut server = open(Transport::WebSocket);
    for _ in 0..44 {
        server.wait(SECOND);
        server.websocket_says(0, "4x");
    }
    server.wait(SECOND);
    ended(&server, CloseReason::PingTimeout);
}

#[test]
fn e9_a_pong_from_the_client_ends_the_session() {
    let mut server = open(Transport::Polling);
    server.post(1, "2:4a1:32:4b");
    ended(&server, CloseReason::ParseError);
    assert_eq!(server.received, ["a"], "what came before it counts, what came after does not");
    let mut server = open(Transport::WebSocket);
    server.websocket_says(0, "3");
    ended(&server, CloseReason::ParseError);
}

#[test]
fn e9_a_flood_of_pings_fills_the_outbox_of_a_client_that_takes_no_answers_and_ends_it() {
    let mut server = open(Transport::WebSocket);
    server.window = 0;
    let ping = format!("2{}", "x".repeat(100_000));
    let mut pings = 0;
    while server.session.is_open() {
        server.websocket_says(0, &ping);
        pings += 1;
        assert!(pings <= 11, "more than the megabyte that the outbox holds");
    }
    ended(&server, CloseReason::Server("slow_consumer"));
}

#[test]
fn an_upgrade_is_probed_with_a_ping_and_moves_what_is_queued() {
    let mut server = open(Transport::Polling);
    server.poll(1);
    server.open_websocket(7);
    server.websocket_says(7, "2probe");
    assert_eq!(
        hears(&mut server),
        ["7: 3probe", "poll 1: 1:6"],
        "the held poll is let go, so that the client can pause"
    );
    for poll in 2..5 {
        server.poll(poll);
        assert_eq!(hears(&mut server), [format!("poll {poll}: 1:6")], "and so is every other until the upgrade");
    }
    server.send("a");
    server.websocket_says(7, "5");
    server.send("b");
    server.websocket_says(7, "2");
    assert_eq!(hears(&mut server), ["7: 4a", "7: 4b", "7: 3"]);
    assert_eq!((server.session.revision(), server.session.transport()), (Revision::V3, Transport::WebSocket));
}

#[test]
fn a_probe_is_no_heartbeat_and_the_heart_beats_on_over_polling_meanwhile() {
    let mut server = upgrading();
    server.wait(9 * SECOND);
    server.post(1, "1:2");
    server.poll(2);
    assert_eq!(hears(&mut server), ["post 1: ok", "poll 2: 1:3"]);
    server.wait(SECOND);
    assert_eq!(hears(&mut server), ["7: closed"], "the upgrade was not completed in time");
    server.wait(35 * SECOND);
    assert!(server.session.is_open(), "45 s after the opening");
    server.wait(9 * SECOND);
    ended(&server, CloseReason::PingTimeout);
}

#[test]
fn e8_what_is_wrong_on_a_probe_closes_the_probe_alone() {
    for says in [&["5"][..], &["2prob"], &["2"], &["4msg"], &["3"], &["1"], &[""], &["2probe", "2"], &["2probe", "6"]] {
        let mut server = open(Transport::Polling);
        server.open_websocket(7);
        server.send("a");
        says.iter().for_each(|text| server.websocket_says(7, text));
        server.poll(1);
        let heard = hears(&mut server);
        assert!(heard.contains(&"7: closed".to_owned()), "{says:?}: {heard:?}");
        assert_eq!(heard.last().map(String::as_str), Some("poll 1: 2:4a"), "{says:?}");
    }
}

#[test]
fn a_session_that_is_over_says_so_in_its_own_framing() {
    let mut server = open(Transport::Polling);
    server.poll(1);
    server.post(2, "1:1");
    assert!(hears(&mut server).contains(&"poll 1: 1:6".to_owned()));
    let mut server = open(Transport::Polling);
    server.send("a");
    server.close();
    server.poll(1);
    server.poll(2);
    assert_eq!(hears(&mut server), ["poll 1: 2:4a", "poll 2: 1:1"]);
}
