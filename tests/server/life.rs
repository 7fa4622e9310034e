//! Starting and stopping.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use alt_ws::config::limits::HTTP_HEADER_TIMEOUT;
use alt_ws::server::ServerError;
use alt_ws::store::{StoreKind, StoreSettings};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::chatter::{Chatter, Heard};
use crate::support::raw::{Frame, HANDSHAKE, Polling, Raw, http};
use crate::support::{settings, soon, start, start_with, try_start};

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_address() {
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = start();
    for taken in [foreign.local_addr().unwrap(), own.address()] {
        let mut settings = settings();
        settings.listen = taken;
        match try_start(settings) {
            Err(error @ ServerError::Listen { address, .. }) => {
                assert_eq!(address, taken);
                assert!(error.to_string().contains(&taken.to_string()), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn stopping_tells_the_clients_answers_what_is_stored_and_closes() {
    let server = start();
    let address = server.address();
    let mut bob = Chatter::join(address, "bob", "r").await;
    let lazy = Polling::join(address, "lazy", "r").await;
    let mut ann = Chatter::join(address, "ann", "r").await;
    let mut asked = BTreeSet::new();
    for _ in 0..200 {
        asked.insert(ann.emit_with_ack("message:send", json!({"roomId": "r", "content": "hi"})).await);
    }
    // The first is stored for sure, the others are wherever they are.
    bob.next("message:new").await;
    server.stop().await;

    let (ann, bob) = (ann.everything_left().await, bob.everything_left().await);
    for heard in [&ann, &bob] {
        let draining = heard.iter().find_map(|heard| match heard {
            Heard::Event(name, payload) if name == "server:draining" => Some(payload),
            _ => None,
        });
        assert!(draining.unwrap()["reconnectIn"].as_u64().unwrap() <= 5500);
        assert_eq!(heard.last(), Some(&Heard::End(Some(1000))));
    }
    let mut stored = 0;
    for heard in &ann {
        let Heard::Ack(id, answer) = heard else { continue };
        assert!(asked.remove(id), "{id} is answered twice");
        match answer["ok"] == true {
            true => stored += 1,
            false => assert_eq!(answer["error"]["code"], "unavailable", "{answer}"),
        }
    }
    let seen = bob.iter().filter(|heard| matches!(heard, Heard::Event(name, _) if name == "message:new")).count() + 1;
    assert_eq!(stored, seen, "what was stored was acknowledged and broadcast");

    assert!(soon(TcpStream::connect(address)).await.is_err() || lazy.is_gone().await);
}

#[tokio::test]
async fn stopping_reaches_a_client_in_its_poll_and_the_close_comes_in_a_poll_of_its_own() {
    let server = start();
    let session = Polling::join(server.address(), "ann", "r").await;
    // Browsers keep their connection, which counts here: new ones are not accepted any more.
    let mut raw = Raw::open(server.address()).await;
    raw.write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(raw.status().await, Some(200));
    let poll = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", session.path());
    raw.write(&poll).await;
    let mut heard = Vec::new();
    let client = async {
        while heard.last().is_none_or(|body| body != "1") {
            let (status, body) = raw.response().await.unwrap();
            assert_eq!(status, 200, "{body}");
            heard.push(body);
            raw.write(&poll).await;
        }
    };
    soon(async { tokio::join!(server.stop(), client) }).await;
    assert!(heard[heard.len() - 2].contains("server:draining"), "{heard:?}");
}

#[tokio::test]
async fn while_the_store_finishes_the_server_answers_takes_nobody_in_and_sends_away_who_is_not_in_yet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alt.db");
    let kind = StoreKind::Sqlite { path: path.clone() };
    let server =
        start_with(|settings| settings.store = Some(StoreSettings { open_rooms: true, ..StoreSettings::new(kind) }));
    let address = server.address();
    let mut ann = Chatter::join(address, "ann", "r").await;
    let mut early = Raw::open(address).await;
    early.upgrade(None, b"").await;
    assert!(matches!(early.frame().await, Frame::Text(open) if open.starts_with("0{")));
    // Another process that holds the database's write lock: the store cannot finish before it lets go.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let asked = ann.emit_with_ack("message:send", json!({"roomId": "r", "content": "hi"})).await;
    assert_eq!(ann.ask("typing:start", json!({"roomId": "r"})).await["ok"], true, "so the message is with the store");
    let meanwhile = async {
        assert!(ann.next("server:draining").await["reconnectIn"].as_u64() >= Some(500));
        assert_eq!(early.close_code().await, Some(1000), "it would not be told so once it is in");
        let (status, body) = http(address, "GET", "/readyz", "").await;
        assert!(status == 503 && body.contains("\"draining\""), "{status} {body}");
        assert_eq!(http(address, "GET", "/health", "").await.0, 200);
        assert_eq!(http(address, "GET", HANDSHAKE, "").await.0, 503);
        other.execute_batch("ROLLBACK").unwrap();
        let heard = ann.everything_left().await;
        let answer = heard.iter().find_map(|heard| match heard {
            Heard::Ack(id, answer) if *id == asked => Some(answer),
            _ => None,
        });
        assert_eq!(answer.unwrap()["ok"], true, "{heard:?}");
        assert_eq!(heard.last(), Some(&Heard::End(Some(1000))));
    };
    soon(async { tokio::join!(server.stop(), meanwhile) }).await;
    assert!(soon(TcpStream::connect(address)).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn clients_of_all_cores_are_asked_to_come_back_at_different_times() {
    const CROWD: usize = 8;
    let server = start();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(Chatter::connect(server.address(), &format!("user{number}")).await);
    }
    soon(server.stop()).await;
    let mut times = BTreeSet::new();
    for chatter in &mut crowd {
        times.insert(chatter.next("server:draining").await["reconnectIn"].as_u64().unwrap());
    }
    assert_eq!(times.len(), CROWD, "{times:?}");
    assert!(times.iter().all(|time| (500..=5500).contains(time)), "{times:?}");
}

#[tokio::test]
async fn a_stopped_server_has_let_go_of_every_connection() {
    let server = start();
    let mut idle = Raw::open(server.address()).await;
    idle.write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(idle.status().await, Some(200));
    soon(server.stop()).await;
    // Well before the time that any idle connection may have for its next request.
    let end = tokio::time::timeout(HTTP_HEADER_TIMEOUT / 2, idle.status()).await;
    assert_eq!(end, Ok(None), "an idle connection is closed, not kept until the process is gone");
}

#[tokio::test]
async fn a_client_that_does_not_come_for_its_last_packets_does_not_keep_the_server_beyond_the_drain_timeout() {
    let timeout = Duration::from_secs(2);
    let server = start_with(|settings| {
        settings.drain_timeout = timeout;
        settings.timings.linger = timeout * 2;
    });
    let lazy = Polling::join(server.address(), "lazy", "r").await;
    let asked = Instant::now();
    soon(server.stop()).await;
    assert!(asked.elapsed() < timeout, "{:?} for {}", asked.elapsed(), lazy.sid);
}
