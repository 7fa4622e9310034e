//! Those who have not said yet who they are: how many there may be, and that nobody else suffers by them.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use alt_ws::config::TrustProxy;
use serde_json::{Value, json};

use crate::support::chatter::Chatter;
use crate::support::raw::{Frame, HANDSHAKE, HttpAnswer, Polling, Raw, UPGRADE, get, text, websocket_path};
use crate::support::{soon, start_with, token};

/// Asks for a session over either transport, and for nothing more.
async fn knock(address: SocketAddr, over_websocket: bool) -> (HttpAnswer, Raw) {
    let mut raw = Raw::open(address).await;
    let path = if over_websocket { websocket_path(None) } else { HANDSHAKE.to_owned() };
    let upgrade = if over_websocket { UPGRADE } else { "" };
    raw.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n")).await;
    (raw.answer().await.unwrap(), raw)
}

async fn assert_told_to_come_back(address: SocketAddr) {
    for over_websocket in [false, true] {
        let (answer, mut raw) = knock(address, over_websocket).await;
        assert_eq!((answer.status, answer.values("retry-after")), (503, vec!["1"]), "{}", answer.head);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(body["message"].as_str().unwrap().starts_with("Too many clients"), "{body}");
        assert_eq!(raw.head().await, "", "the connection is closed: it would take a descriptor from those who get in");
    }
}

#[tokio::test]
async fn r3_one_newcomer_too_many_is_told_to_come_back_and_those_who_are_in_notice_nothing() {
    let server = start_with(|settings| {
        settings.cores = 1;
        settings.max_newcomers = NonZeroU32::new(4);
    });
    let address = server.address();
    let mut ann = Chatter::join(address, "ann", "r").await;
    let mut held = Vec::new();
    for over_websocket in [false, true, false, true] {
        let (answer, raw) = knock(address, over_websocket).await;
        assert_eq!(answer.status, if over_websocket { 101 } else { 200 });
        held.push(raw);
    }
    assert_told_to_come_back(address).await;
    assert_eq!(get(address, "/livez", "").await.status, 200, "whoever asks for no session is answered as ever");
    let sent = ann.ask("message:send", json!({"roomId": "r", "content": "still here"})).await;
    assert_eq!((&sent["ok"], &sent["seq"]), (&json!(true), &json!(1)));

    // Who says who it is makes room, and so does who goes away.
    let mut second = held.remove(1);
    assert!(matches!(second.frame().await, Frame::Text(open) if open.starts_with("0{")));
    second.write(text(&format!("40{{\"token\":\"{}\"}}", token("bob")))).await;
    assert!(matches!(second.frame().await, Frame::Text(connected) if connected.starts_with("40{")));
    let (answer, third) = knock(address, true).await;
    assert_eq!(answer.status, 101);
    assert_told_to_come_back(address).await;
    drop(third);
    soon(async { while knock(address, false).await.0.status != 200 {} }).await;
}

#[tokio::test]
async fn r3_a_refused_token_keeps_its_place_and_the_time_to_connect_ends_it() {
    let server = start_with(|settings| {
        settings.cores = 1;
        settings.max_newcomers = NonZeroU32::new(1);
        settings.connect_timeout = Duration::from_millis(500);
        settings.timings.linger = Duration::ZERO;
    });
    let address = server.address();
    let session = Polling::open(address).await;
    session.post("40{\"token\":\"forged\"}").await;
    assert!(session.poll().await.contains("Invalid token"));
    assert_told_to_come_back(address).await;
    soon(async { while knock(address, false).await.0.status != 200 {} }).await;
}

#[tokio::test]
async fn r1_one_address_cannot_keep_the_others_out_with_sessions_that_never_connect() {
    const MOST: u32 = 8;
    let server = start_with(|settings| {
        settings.edge.proxies = TrustProxy::parse("127.0.0.1").unwrap();
        settings.max_connections_per_ip = NonZeroU32::new(MOST);
        settings.max_newcomers = NonZeroU32::new(2 * MOST);
    });
    // Long-polling needs no connection of its own for a session: all of them come over one.
    let mut proxy = Raw::open(server.address()).await;
    let mut statuses = Vec::new();
    for _ in 0..MOST {
        proxy.write(format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")).await;
        statuses.push(proxy.status().await.unwrap());
    }
    assert_eq!(statuses, [200; MOST as usize]);
    for _ in 0..50 {
        let answer = get(server.address(), HANDSHAKE, "X-Forwarded-For: 1.1.1.1\r\n").await;
        assert_eq!((answer.status, answer.values("retry-after")), (503, vec!["1"]));
    }
    assert_eq!(get(server.address(), HANDSHAKE, "X-Forwarded-For: 2.2.2.2\r\n").await.status, 200);
}

#[tokio::test]
async fn r1_of_more_connections_of_one_address_than_it_may_have_the_first_are_served_and_the_rest_are_closed() {
    const MOST: u32 = 256;
    let server = start_with(|settings| settings.max_connections_per_ip = NonZeroU32::new(MOST));
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 1..MOST + 50 {
        let mut raw = Raw::open(server.address()).await;
        raw.try_write(format!("GET {} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n", websocket_path(None)).as_bytes()).await;
        match raw.head().await.as_str() {
            "" => refused += 1,
            head => {
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                held.push(raw);
            }
        }
    }
    assert_eq!((held.len(), refused), (MOST as usize - 1, 50));
    assert_eq!(ann.ask("message:send", json!({"roomId": "r", "content": "hi"})).await["ok"], true);
    drop(held);
    soon(async { while livez(server.address()).await != Some(200) {} }).await;
}

async fn livez(address: SocketAddr) -> Option<u16> {
    let mut raw = Raw::open(address).await;
    raw.try_write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    raw.status().await
}
