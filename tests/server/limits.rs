//! At the limits: slow readers, too many connections, a store that cannot follow.

use std::num::NonZeroU32;
use std::time::Duration;

use alt_ws::ids::{RoomId, UserId};
use alt_ws::store::{StoreKind, StoreSettings};
use serde_json::{Value, json};

use crate::support::chatter::{Chatter, Heard};
use crate::support::raw::{Frame, HANDSHAKE, Polling, Raw, http, text};
use crate::support::{soon, start_with, token};

#[tokio::test]
async fn a_client_that_never_reads_is_disconnected_and_the_others_receive_everything() {
    const OUTBOX: usize = 256 * 1024;
    let server = start_with(|settings| settings.outbox.bytes = OUTBOX);
    let mut slow = Raw::open_narrow(server.address(), 4096).await;
    slow.connect("slow").await;
    slow.write(text("42[\"room:join\",{\"roomId\":\"busy\"}]")).await;
    while !matches!(slow.frame().await, Frame::Text(packet) if packet.starts_with("42[\"room:joined\"")) {}
    let mut bob = Chatter::join(server.address(), "bob", "busy").await;
    let mut ann = Chatter::join(server.address(), "ann", "busy").await;

    // Far more than the outbox and the kernel's buffers hold together.
    let content = "x".repeat(16 * 1024);
    for seq in 1..=1000 {
        let sent = ann.ask("message:send", json!({"roomId": "busy", "content": content})).await;
        assert_eq!((&sent["ok"], &sent["seq"]), (&json!(true), &json!(seq)));
        assert_eq!(bob.next("message:new").await["seq"], json!(seq), "each, in order, once");
    }
    assert_eq!(bob.next("user:offline").await["userId"], "slow");
    let mut received: usize = 0;
    while let Frame::Text(packet) = slow.frame().await {
        received += usize::from(packet.starts_with("42[\"message:new\""));
    }
    assert!(received < 1000, "{received} messages were kept for a client that read none");
}

#[tokio::test]
async fn typing_is_dropped_before_anything_else_and_the_outbox_is_bounded() {
    const OUTBOX: usize = 4000;
    let server = start_with(|settings| settings.outbox.bytes = OUTBOX);
    let lazy = Polling::join(server.address(), "lazy", "r").await;
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    while !lazy.poll().await.contains("user:joined") {}

    // Nobody polls now: typing fills the outbox, and what does not fit is dropped.
    for _ in 0..100 {
        ann.ask("typing:start", json!({"roomId": "r"})).await;
        ann.ask("typing:stop", json!({"roomId": "r"})).await;
    }
    let typing = lazy.poll().await;
    assert!(typing.contains("typing:user") && typing.len() <= OUTBOX, "{}", typing.len());

    // Messages push it out.
    for _ in 0..100 {
        ann.ask("typing:start", json!({"roomId": "r"})).await;
        ann.ask("typing:stop", json!({"roomId": "r"})).await;
    }
    ann.ask("message:send", json!({"roomId": "r", "content": "first"})).await;
    ann.ask("message:send", json!({"roomId": "r", "content": "x".repeat(2500)})).await;
    let messages = lazy.poll().await;
    assert!(messages.contains("first") && messages.contains("xxx"), "{messages}");
    assert!(!messages.contains("typing:user") && messages.len() <= OUTBOX, "{messages}");

    // When only messages are left to drop, the client goes.
    for _ in 0..2 {
        ann.ask("message:send", json!({"roomId": "r", "content": "x".repeat(2500)})).await;
    }
    assert_eq!(ann.next("user:offline").await["userId"], "lazy");
    assert!(lazy.is_gone().await);
}

#[tokio::test]
async fn a_client_that_does_not_fetch_what_waits_for_it_is_let_go_and_the_others_are_served() {
    let server = start_with(|settings| {
        settings.outbox.age = Duration::from_millis(300);
        settings.cores = 1;
    });
    let lazy = Polling::join(server.address(), "lazy", "r").await;
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    ann.ask("message:send", json!({"roomId": "r", "content": "too old in a moment"})).await;
    assert_eq!(ann.next("user:offline").await["userId"], "lazy");
    assert!(lazy.is_gone().await);
    let sent = ann.ask("message:send", json!({"roomId": "r", "content": "still served"})).await;
    assert_eq!(sent["ok"], true);
}

#[tokio::test]
async fn r1_one_connection_too_many_of_an_address_is_closed_until_another_goes() {
    let server = start_with(|settings| settings.max_connections_per_ip = NonZeroU32::new(2));
    let mut websocket = Raw::open(server.address()).await;
    websocket.connect("ann").await;
    let mut second = Raw::open(server.address()).await;
    second.write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(second.status().await, Some(200));
    assert_eq!(third(server.address()).await, None, "the upgraded connection counts as well");
    drop(websocket);
    soon(async { while third(server.address()).await != Some(200) {} }).await;
}

async fn third(address: std::net::SocketAddr) -> Option<u16> {
    let mut raw = Raw::open(address).await;
    raw.try_write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    raw.status().await
}

#[tokio::test]
async fn r1_one_socket_too_many_of_a_user_is_told_when_to_come_again_until_another_goes() {
    let server = start_with(|settings| settings.max_connections_per_user = NonZeroU32::new(2));
    let first = Chatter::connect(server.address(), "ann").await;
    let _second = Chatter::connect(server.address(), "ann").await;
    let error = Chatter::try_connect(server.address(), "ann").await.err().unwrap();
    assert_eq!(error["data"], json!({"code": "rate_limited", "retryAfter": 5000}), "{error}");
    Chatter::connect(server.address(), "bob").await;
    drop(first);
    soon(async { while Chatter::try_connect(server.address(), "ann").await.is_err() {} }).await;
}

#[tokio::test]
async fn r1_who_leaves_the_namespace_is_counted_as_long_as_the_connection_lasts() {
    let server = start_with(|settings| settings.max_connections_per_user = NonZeroU32::new(1));
    let mut raw = Raw::open(server.address()).await;
    raw.connect("ann").await;
    raw.write(text("41")).await;
    raw.write(text(&format!("40{{\"token\":\"{}\"}}", token("ann")))).await;
    assert!(matches!(raw.frame().await, Frame::Text(again) if again.starts_with("40{")), "its place is its own");
    raw.write(text("41")).await;
    assert!(Chatter::try_connect(server.address(), "ann").await.is_err());
    // As somebody else it takes their place, and gives back the first one's.
    raw.write(text(&format!("40{{\"token\":\"{}\"}}", token("bob")))).await;
    assert!(matches!(raw.frame().await, Frame::Text(other) if other.starts_with("40{")));
    assert!(Chatter::try_connect(server.address(), "bob").await.is_err());
    Chatter::connect(server.address(), "ann").await;
}

#[tokio::test]
async fn r5_when_the_stores_queue_is_full_senders_are_told_busy_and_nobody_is_left_in_silence() {
    let server = start_with(|settings| {
        let store = settings.store.as_mut().unwrap();
        store.queue_records = 1;
        store.members.push((RoomId::from_text("r").unwrap(), UserId::from_text("bob").unwrap()));
    });
    // One segment, so that the store has no time to follow.
    let mut raw = Raw::open(server.address()).await;
    raw.connect("bob").await;
    let burst: Vec<u8> = (0..500)
        .flat_map(|id| text(&format!("42{id}[\"message:send\",{{\"roomId\":\"r\",\"content\":\"x\"}}]")))
        .collect();
    raw.write(burst).await;
    let mut answers = Vec::new();
    while answers.len() < 500 {
        let Frame::Text(packet) = raw.frame().await else { panic!("the connection ended") };
        if let Some(ack) = packet.strip_prefix("43") {
            let (id, answer) = ack.split_at(ack.find('[').unwrap());
            answers.push((id.parse::<u32>().unwrap(), serde_json::from_str::<Value>(answer).unwrap()[0].clone()));
        }
    }
    let (stored, refused): (Vec<_>, Vec<_>) =
        answers.iter().map(|(_, answer)| answer).partition(|answer| answer["ok"] == true);
    assert!(
        refused
            .iter()
            .all(|answer| answer["error"]["code"] == "busy" && answer["error"]["retryAfter"].as_u64() > Some(0))
    );
    assert!(!refused.is_empty());
    assert!(
        stored
            .iter()
            .map(|answer| &answer["seq"])
            .eq((1..=stored.len()).map(|seq| json!(seq)).collect::<Vec<_>>().iter())
    );
    answers.sort_by_key(|(id, _)| *id);
    assert!(answers.iter().map(|(id, _)| *id).eq(0..500), "one answer each");
}

#[tokio::test]
async fn a_store_that_does_not_answer_in_time_is_answered_for_and_the_repeat_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alt.db");
    let kind = StoreKind::Sqlite { path: path.clone() };
    let server = start_with(|settings| {
        settings.store = Some(StoreSettings {
            open_rooms: true,
            persist_timeout: Duration::from_millis(200),
            ..StoreSettings::new(kind)
        });
    });
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    // Another process that holds the database's write lock.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let send = || json!({"roomId": "r", "content": "hi", "clientMsgId": "once"});
    for _ in 0..2 {
        let answer = ann.ask("message:send", send()).await;
        assert_eq!((&answer["ok"], &answer["error"]["code"]), (&json!(false), &json!("unavailable")), "{answer}");
        assert!(answer["error"]["retryAfter"].as_u64() > Some(0), "{answer}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    let answer = soon(async {
        loop {
            let answer = ann.ask("message:send", send()).await;
            if answer["ok"] == true {
                break answer;
            }
        }
    })
    .await;
    assert_eq!(answer["seq"], 1);
    assert_eq!(ann.next("message:new").await["id"], answer["messageId"]);
    server.stop().await;
    let again = ann
        .everything_left()
        .await
        .into_iter()
        .filter(|heard| matches!(heard, Heard::Event(name, _) if name == "message:new"));
    assert_eq!(again.count(), 0);
}

#[tokio::test]
async fn r1_a_handshake_flood_of_sessions_that_never_connect_is_let_go() {
    let server = start_with(|settings| settings.connect_timeout = Duration::from_millis(200));
    let mut raw = Raw::open(server.address()).await;
    raw.upgrade(None, b"").await;
    assert!(matches!(raw.frame().await, Frame::Text(_)));
    assert!(matches!(raw.frame().await, Frame::Close(_)), "who does not CONNECT is closed");
    let session = Polling::open(server.address()).await;
    let (status, body) = http(server.address(), "GET", &format!("{HANDSHAKE}&sid={}", session.sid), "").await;
    assert_eq!((status, body.as_str()), (200, "1"));
    assert!(session.is_gone().await);
}
