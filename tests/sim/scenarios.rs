//! The rules of the session, one by one. Times are seconds from its opening; requests and WebSockets have numbers.

use std::time::{Duration, Instant};

use alt_ws::engineio::session::{CloseReason, Output, Sink, Transport};

use super::server::{ROOMY, Said, Server, unframe};

const SECOND: Duration = Duration::from_secs(1);

fn polling() -> Server {
    Server::open(Transport::Polling, ROOMY, Instant::now())
}

fn websocket() -> Server {
    Server::open(Transport::WebSocket, ROOMY, Instant::now())
}

/// A session whose probe, on WebSocket 7, is answered.
fn upgrading() -> Server {
    let mut server = polling();
    server.open_websocket(7);
    server.websocket_says(7, "2probe");
    assert_eq!(hears(&mut server), ["7: 3probe"]);
    server
}

/// What the client has heard since it was last asked.
pub(crate) fn hears(server: &mut Server) -> Vec<String> {
    let mut heard = Vec::new();
    for said in std::mem::take(&mut server.said) {
        match said {
            Said::Answer(poll, body) => heard.push(format!("poll {poll}: {}", body.replace('\x1e', " "))),
            Said::Posted(post) => heard.push(format!("post {post}: ok")),
            Said::Refused(request) => heard.push(format!("{request}: refused")),
            Said::Hangup(websocket) => heard.push(format!("{websocket}: closed")),
            Said::Bytes(websocket, mut bytes) => {
                heard.extend(std::iter::from_fn(|| unframe(&mut bytes)).map(|text| format!("{websocket}: {text}")));
            }
        }
    }
    heard
}

#[track_caller]
pub(crate) fn ended(server: &Server, reason: CloseReason) {
    assert_eq!((server.closed, server.is_removed), (Some(reason), true));
}

#[test]
fn a_poll_is_held_until_there_is_something_to_say() {
    let mut server = polling();
    server.poll(1);
    assert!(hears(&mut server).is_empty());
    server.send("a");
    server.send("b");
    assert_eq!(hears(&mut server), ["poll 1: 4a"]);
    server.poll(2);
    assert_eq!(hears(&mut server), ["poll 2: 4b"], "at once");
}

#[test]
fn a_post_brings_its_packets_in_order_before_it_is_answered() {
    let mut server = polling();
    server.post(1, "4a\x1e4b");
    assert_eq!((server.received.join(""), hears(&mut server)), ("ab".into(), vec!["post 1: ok".to_owned()]));
}

#[test]
fn the_server_pings_after_the_interval_and_a_pong_starts_it_anew() {
    let mut server = polling();
    server.poll(1);
    server.wait(24 * SECOND);
    assert!(hears(&mut server).is_empty());
    server.wait(SECOND);
    assert_eq!(hears(&mut server), ["poll 1: 2"]);
    server.wait(19 * SECOND);
    server.post(2, "3");
    server.wait(24 * SECOND);
    assert!(server.session.is_open());
    server.poll(3);
    assert_eq!(hears(&mut server), ["post 2: ok"]);
    server.wait(SECOND);
    assert_eq!(hears(&mut server), ["poll 3: 2"]);
}

#[test]
fn e7_who_vanishes_after_the_handshake_is_gone_after_interval_and_timeout() {
    for mut server in [polling(), websocket()] {
        server.wait(45 * SECOND - Duration::from_nanos(1));
        assert!(server.session.is_open());
        server.wait(Duration::from_nanos(1));
        ended(&server, CloseReason::PingTimeout);
    }
}

#[test]
fn e7_the_heart_beats_on_under_a_probe_that_says_nothing() {
    let mut server = polling();
    server.wait(20 * SECOND);
    server.poll(1);
    server.open_websocket(7);
    server.wait(5 * SECOND);
    assert_eq!(hears(&mut server), ["poll 1: 2"], "the ping takes the poll, and the probe goes on");
    server.wait(5 * SECOND);
    assert_eq!(hears(&mut server), ["7: closed"]);
    server.wait(15 * SECOND);
    ended(&server, CloseReason::PingTimeout);
}

#[test]
fn e7_an_upgrade_that_is_not_completed_in_time_leaves_polling_working() {
    for mut server in [polling(), upgrading()] {
        if server.probed_since.is_none() {
            server.open_websocket(7);
        }
        server.wait(10 * SECOND - Duration::from_nanos(1));
        assert!(hears(&mut server).is_empty());
        server.wait(Duration::from_nanos(1));
        assert_eq!(hears(&mut server), ["7: closed"]);
        server.websocket_says(7, "5");
        server.send("a");
        server.poll(1);
        server.post(2, "4b");
        assert_eq!(
            (server.received.join(""), hears(&mut server).join(", ")),
            ("b".into(), "poll 1: 4a, post 2: ok".into())
        );
    }
}

#[test]
fn e9_a_flood_of_pongs_buys_no_time() {
    let mut server = websocket();
    for second in 0..25 {
        server.websocket_says(0, "3");
        assert!(server.session.is_open(), "{second}");
        server.wait(SECOND);
    }
    assert_eq!(hears(&mut server), ["0: 2"], "the ping comes when it would have come");
    for _ in 0..1000 {
        server.websocket_says(0, "3");
    }
    server.wait(25 * SECOND);
    assert_eq!(hears(&mut server), ["0: 2"], "one pong per ping");
    server.wait(20 * SECOND);
    ended(&server, CloseReason::PingTimeout);
}

#[test]
fn e9_a_ping_from_the_client_ends_the_session() {
    let mut server = polling();
    server.post(1, "4a\x1e2\x1e4b");
    ended(&server, CloseReason::ParseError);
    assert_eq!(server.received, ["a"], "what came before it counts, what came after does not");
    let mut server = websocket();
    server.websocket_says(0, "2");
    ended(&server, CloseReason::ParseError);
}

#[test]
fn a_timer_that_fires_a_little_late_does_not_make_the_timeout_later() {
    for (late, patience) in [(40, 19_960), (60, 20_000), (5_000, 20_000)] {
        let mut server = websocket();
        server.now += 25 * SECOND + Duration::from_millis(late);
        server.wake();
        server.wait(Duration::from_millis(patience - 1));
        assert!(server.session.is_open(), "{late}");
        server.wait(Duration::from_millis(1));
        ended(&server, CloseReason::PingTimeout);
    }
}

#[test]
fn e5_a_second_poll_ends_the_session_and_the_first_is_told() {
    let mut server = polling();
    server.poll(1);
    server.poll(2);
    assert_eq!(hears(&mut server), ["2: refused", "poll 1: 1"]);
    ended(&server, CloseReason::Overlap);
}

#[test]
fn e5_a_second_post_ends_the_session_and_the_first_brings_nothing_more() {
    let mut server = polling();
    assert!(server.begin_post(1));
    server.poll(2);
    assert!(!server.begin_post(3));
    assert_eq!(hears(&mut server), ["3: refused", "poll 2: 1"]);
    ended(&server, CloseReason::Overlap);
    server.finish_post(1, "4a");
    assert!(server.received.is_empty());
}

#[test]
fn a_poll_and_a_post_at_the_same_time_are_the_rule() {
    let mut server = polling();
    server.poll(1);
    server.post(2, "4a");
    server.post(3, "4b");
    server.send("c");
    assert_eq!(hears(&mut server), ["post 2: ok", "post 3: ok", "poll 1: 4c"]);
}

#[test]
fn e6_a_held_poll_that_is_aborted_ends_the_session() {
    let mut server = polling();
    server.poll(1);
    server.abort_poll(1);
    ended(&server, CloseReason::RequestAborted);
}

#[test]
fn e6_a_poll_that_is_aborted_with_its_messages_already_dequeued_ends_the_session() {
    let mut server = polling();
    server.send("a");
    server.poll(1);
    server.said.clear();
    server.abort_poll(1);
    ended(&server, CloseReason::RequestAborted);
    server.poll(2);
    assert_eq!(hears(&mut server), ["2: refused"], "rather than what came after the lost message");
}

#[test]
fn a_post_that_breaks_off_ends_the_session_and_the_poll_is_told() {
    let mut server = polling();
    server.poll(1);
    server.begin_post(2);
    server.break_post();
    assert_eq!(hears(&mut server), ["poll 1: 1"]);
    ended(&server, CloseReason::RequestAborted);
}

#[test]
fn an_upgrade_moves_what_is_queued_to_the_websocket() {
    let mut server = polling();
    server.poll(1);
    server.open_websocket(7);
    assert!(hears(&mut server).is_empty(), "before the probe, polls are held as ever");
    server.websocket_says(7, "2probe");
    assert_eq!(hears(&mut server), ["7: 3probe", "poll 1: 6"], "the held poll is let go, so that the client can pause");
    server.send("a");
    assert!(hears(&mut server).is_empty(), "until the upgrade, messages wait for a poll");
    server.websocket_says(7, "5");
    server.send("b");
    assert_eq!(hears(&mut server), ["7: 4a", "7: 4b"]);
    server.websocket_says(7, "4c");
    assert_eq!(server.received, ["c"]);
}

#[test]
fn a_poll_during_the_upgrade_still_brings_messages() {
    let mut server = upgrading();
    server.send("a");
    server.poll(1);
    server.poll(2);
    assert_eq!(hears(&mut server), ["poll 1: 4a", "poll 2: 6"]);
    server.websocket_says(7, "5");
    server.send("b");
    assert_eq!(hears(&mut server), ["7: 4b"]);
}

#[test]
fn a_poll_that_the_upgrade_overtakes_is_refused_and_its_abort_harms_nobody() {
    let mut server = upgrading();
    // Held, and the `5` comes before it is answered.
    server.session.handle_poll(server.now).unwrap();
    server.poll = Some(1);
    server.websocket_says(7, "5");
    server.abort_poll(1);
    server.send("a");
    assert_eq!(hears(&mut server), ["1: refused", "7: 4a"]);
}

#[test]
fn e8_what_is_wrong_on_a_probe_closes_the_probe_alone_and_loses_nothing() {
    for says in
        [&["5"][..], &["2prob"], &["4msg"], &["3"], &["1"], &["2"], &[""], &["2probe", "4msg"], &["2probe", "6"]]
    {
        let mut server = polling();
        server.open_websocket(7);
        server.send("a");
        says.iter().for_each(|text| server.websocket_says(7, text));
        server.send("b");
        server.poll(1);
        server.post(2, "4c");
        let heard = hears(&mut server);
        assert!(heard.contains(&"7: closed".to_owned()), "{says:?}: {heard:?}");
        assert_eq!(heard[heard.len() - 2..], ["poll 1: 4a 4b", "post 2: ok"], "{says:?}");
        assert_eq!(server.received, ["c"], "{says:?}");
    }
}

#[test]
fn e8_of_two_probes_at_once_the_second_is_closed_and_the_first_goes_on() {
    let mut server = upgrading();
    server.open_websocket(8);
    server.websocket_says(8, "5");
    assert_eq!(hears(&mut server), ["8: closed"]);
    server.websocket_says(7, "5");
    server.send("a");
    assert_eq!(hears(&mut server), ["7: 4a"]);
}

#[test]
fn e8_after_a_failed_probe_another_may_come() {
    for with_close_frame in [true, false] {
        let mut server = upgrading();
        server.websocket_closes(7, with_close_frame);
        server.said.clear();
        server.open_websocket(8);
        server.websocket_says(8, "2probe");
        server.websocket_says(8, "5");
        server.send("a");
        assert_eq!(hears(&mut server), ["8: 3probe", "8: 4a"]);
    }
}

#[test]
fn e8_a_post_during_the_upgrade_counts_and_one_after_it_is_refused() {
    let mut server = upgrading();
    server.post(1, "4a");
    server.begin_post(2);
    server.websocket_says(7, "5");
    server.finish_post(2, "4b");
    server.post(3, "4c");
    server.poll(4);
    assert_eq!(server.received, ["a", "b"]);
    assert_eq!(hears(&mut server), ["post 1: ok", "post 2: ok", "3: refused", "4: refused"]);
    assert!(server.session.is_open());
}

#[test]
fn e8_a_session_born_on_a_websocket_is_not_upgraded_and_lives_on() {
    let mut server = websocket();
    server.open_websocket(7);
    server.send("a");
    assert_eq!(hears(&mut server), ["7: closed", "0: 4a"]);
    server.websocket_says(0, "2probe");
    ended(&server, CloseReason::ParseError);
}

#[test]
fn a_websocket_that_goes_ends_the_session_it_carries() {
    for (with_close_frame, reason) in [(true, CloseReason::ClientClose), (false, CloseReason::TransportClose)] {
        let mut server = websocket();
        server.websocket_closes(0, with_close_frame);
        ended(&server, reason);
    }
}

#[test]
fn a_client_that_closes_has_its_poll_ended_with_a_noop() {
    let mut server = polling();
    server.poll(1);
    server.post(2, "1");
    assert!(hears(&mut server).contains(&"poll 1: 6".to_owned()));
    ended(&server, CloseReason::ClientClose);
}

#[test]
fn a_client_that_closes_between_two_polls_has_its_next_one_ended_with_a_noop() {
    let mut server = polling();
    server.post(1, "4a\x1e1\x1e4b");
    assert_eq!((server.closed, server.is_removed), (Some(CloseReason::ClientClose), false));
    assert_eq!(server.received, ["a"]);
    server.poll(2);
    assert_eq!(hears(&mut server), ["post 1: ok", "poll 2: 6"]);
    ended(&server, CloseReason::ClientClose);
}

#[test]
fn the_servers_close_comes_in_a_poll_of_its_own_after_what_was_queued() {
    let mut server = polling();
    server.send("a");
    server.close();
    assert!(!server.is_removed);
    server.post(1, "4late");
    assert!(server.received.is_empty(), "nothing reaches the layer above any more");
    server.poll(2);
    server.poll(3);
    assert_eq!(
        hears(&mut server),
        ["post 1: ok", "poll 2: 4a", "poll 3: 1"],
        "and a post does not cost the client its poll"
    );
    ended(&server, CloseReason::Server("test"));
}

#[test]
fn a_closed_session_waits_for_its_last_poll_only_so_long() {
    let mut server = polling();
    server.send("a");
    server.close();
    server.wait(5 * SECOND - Duration::from_nanos(1));
    assert!(!server.is_removed);
    server.wait(Duration::from_nanos(1));
    ended(&server, CloseReason::Server("test"));
    server.poll(1);
    assert_eq!(hears(&mut server), ["1: refused"]);
}

#[test]
fn on_a_websocket_the_servers_close_waits_for_the_kernel_to_take_what_was_queued() {
    let mut server = websocket();
    server.window = 2;
    server.send("abc");
    server.close();
    assert!(!server.is_removed, "four of six bytes are out");
    server.settle();
    ended(&server, CloseReason::Server("test"));
    assert_eq!((server.said.len(), server.said.last()), (4, Some(&Said::Hangup(0))));
}

#[test]
fn the_servers_close_in_the_middle_of_an_upgrade_follows_the_client_to_the_websocket() {
    let mut server = upgrading();
    server.send("a");
    server.close();
    server.websocket_says(7, "5");
    assert_eq!(hears(&mut server), ["7: 4a", "7: closed"]);
    ended(&server, CloseReason::Server("test"));
}

#[test]
fn after_remove_nothing_more_is_said_whatever_comes() {
    let mut server = upgrading();
    server.poll(1);
    server.session.abort(CloseReason::Server("test"));
    server.settle();
    assert_eq!(hears(&mut server), ["poll 1: 6", "7: closed"]);
    let (session, now) = (&mut server.session, server.now);
    assert!(session.handle_poll(now).is_err() && session.handle_post(now).is_err());
    assert!(session.handle_probe_opened(now).is_err());
    session.handle_poll_aborted();
    session.handle_post_aborted();
    session.handle_parse_error();
    session.handle_probe_error();
    session.handle_websocket_closed(true);
    session.handle_drained();
    session.close("again", now);
    session.abort(CloseReason::PingTimeout);
    session.handle_timeout(now + 3600 * SECOND);
    assert_eq!((session.sink(), session.answer(false), session.answer(true)), (Sink::None, None, None));
    assert!(matches!(session.poll_output(), Output::Wait(_)));
}
