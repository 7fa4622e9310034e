//! Sessions: their ids are secrets, and nobody keeps one alive by noise or by silence.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::support::chatter::{Chatter, Heard};
use crate::support::raw::{Frame, HANDSHAKE, Polling, Raw, get, http, text};
use crate::support::{start, start_with, token};

#[tokio::test]
async fn e7_a_probe_that_never_speaks_is_closed_in_time_and_polling_goes_on() {
    let server = start_with(|settings| settings.timings.upgrade_timeout = Duration::from_millis(200));
    let session = Polling::join(server.address(), "ann", "r").await;
    for ahead in [&b""[..], &text("2probe")] {
        let mut raw = Raw::open(server.address()).await;
        raw.upgrade(Some(&session.sid), ahead).await;
        while raw.frame().await != Frame::End {}
        session.post("421[\"presence:update\",{\"status\":\"away\"}]").await;
        while !session.poll().await.contains("431[{\"ok\":true}]") {}
    }
}

#[tokio::test]
async fn e9_a_flood_of_pongs_is_answered_with_nothing_and_a_ping_closes() {
    let server = start();
    let mut raw = Raw::open(server.address()).await;
    raw.connect("eve").await;
    raw.write(text("3").repeat(100_000)).await;
    raw.write(text("421[\"presence:update\",{\"status\":\"away\"}]")).await;
    let Frame::Text(news) = raw.frame().await else { panic!("the connection ended") };
    assert!(news.starts_with("42[\"presence:changed\""), "and nothing before it: {news}");
    assert_eq!(raw.frame().await, Frame::Text("431[{\"ok\":true}]".into()));
    raw.try_write(&text("2")).await;
    assert!(matches!(raw.frame().await, Frame::Close(_)));
    let session = Polling::join(server.address(), "mallory", "r").await;
    let _ = http(server.address(), "POST", &session.path(), "2").await;
    assert!(session.is_gone().await);
}

#[tokio::test]
async fn e15_guessed_chosen_and_foreign_ids_lead_nowhere() {
    let server = start();
    let session = Polling::join(server.address(), "ann", "r").await;
    // One over and over, as fast as a connection takes it: each is unknown, and none becomes a session.
    let mut raw = Raw::open(server.address()).await;
    let mut guess = session.sid.clone().into_bytes();
    for round in 0..5000_usize {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = round % 20;
        let original = session.sid.as_bytes()[at];
        guess[at] = alphabet[(round / 20 + usize::from(original)) % 64];
        let guessed = std::str::from_utf8(&guess).unwrap();
        if guessed != session.sid {
            raw.write(format!("GET {HANDSHAKE}&sid={guessed} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let expected = (400, r#"{"code":1,"message":"Session ID unknown"}"#.to_owned());
            assert_eq!(raw.response().await, Some(expected), "{guessed}");
        }
        guess[at] = original;
    }
    session.post("421[\"presence:update\",{\"status\":\"away\"}]").await;
    assert!(session.poll().await.contains("431["), "the session is none the worse for it");
}

#[tokio::test]
async fn e15_ids_are_new_each_time_and_the_servers_own_choice() {
    let server = start();
    let mut seen = BTreeSet::new();
    let mut raw = Raw::open(server.address()).await;
    for _ in 0..1000 {
        raw.write(format!("GET {HANDSHAKE}&t=1&id=x HTTP/1.1\r\nHost: x\r\nCookie: io=x\r\n\r\n")).await;
        let (_, open) = raw.response().await.unwrap();
        let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        assert_eq!(sid.len(), 20);
        assert!(seen.insert(sid), "twice the same");
    }
    // Each of the first 112 bits is sometimes set and sometimes not: none is a counter's or a clock's.
    let column = |at: usize| seen.iter().map(|sid| sid.as_bytes()[at]).collect::<BTreeSet<_>>().len();
    assert!((0..18).all(|at| column(at) > 40), "{:?}", (0..20).map(column).collect::<Vec<_>>());
}

#[tokio::test]
async fn e15_the_id_of_a_session_is_told_to_nobody_else() {
    let server = start();
    let mut bob = Chatter::join(server.address(), "bob", "r").await;
    let session = Polling::open(server.address()).await;
    session.post(&format!("40{{\"token\":\"{}\"}}", token("ann"))).await;
    let connected = session.poll().await;
    assert!(connected.starts_with("40{\"sid\":\"") && !connected.contains(&session.sid), "{connected}");
    session.post("42[\"room:join\",{\"roomId\":\"r\"}]").await;
    // Only then do the two share a conversation, and hear of each other's status.
    while !session.poll().await.contains("room:joined") {}
    session.post("421[\"message:send\",{\"roomId\":\"r\",\"content\":\"hi\"}]").await;
    session.post("42[\"presence:update\",{\"status\":\"away\"}]").await;
    session.post("42[\"typing:start\",{\"roomId\":\"r\"}]").await;
    session.post("42[\"message:send\",{\"roomId\":\"elsewhere\",\"content\":5}]").await;
    let mut told = vec![bob.next("typing:user").await, bob.ask("message:history", json!({"roomId": "r"})).await];
    // The session ends: what is heard of it until then is all that there is.
    assert_eq!(http(server.address(), "POST", &session.path(), "7").await.0, 400);
    told.push(bob.next("user:offline").await);
    for path in [session.path(), "/health".into(), "/readyz".into()] {
        let answer = String::from_utf8(get(server.address(), &path, "").await.body).unwrap();
        assert!(!answer.contains(&session.sid), "{answer}");
    }
    server.stop().await;
    told.extend(bob.everything_left().await.into_iter().filter_map(|heard| match heard {
        Heard::Event(_, payload) => Some(payload),
        _ => None,
    }));
    let told = json!(told).to_string();
    assert!(told.contains("\"away\"") && told.contains("\"content\":\"hi\""), "{told}");
    assert!(!told.contains(&session.sid), "{told}");
}

#[tokio::test]
async fn e15_a_session_stays_with_the_user_who_connected_it() {
    let server = start();
    let session = Polling::join(server.address(), "ann", "r").await;
    // A second CONNECT, with another's token, does not change hands: it ends the session.
    let _ = http(server.address(), "POST", &session.path(), &format!("40{{\"token\":\"{}\"}}", token("eve"))).await;
    assert!(session.is_gone().await);
}
