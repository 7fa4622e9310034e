//! Starting and stopping.

use std::collections::BTreeSet;
use std::net::TcpListener;

use alt_ws::server::ServerError;
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::chatter::{Chatter, Heard};
use crate::support::raw::{Polling, Raw};
use crate::support::{settings, soon, start, try_start};

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
