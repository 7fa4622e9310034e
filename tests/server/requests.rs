//! HTTP requests that break the rules.

use std::time::Duration;

use serde_json::json;

use crate::support::chatter::Chatter;
use crate::support::raw::{HANDSHAKE, Polling, Raw, http};
use crate::support::start;

const POST: &str = "Host: x\r\nContent-Type: text/plain";

/// Sends a post's head and body to a new session, and returns the status. The session is over afterwards.
async fn refused(address: std::net::SocketAddr, headers: &str, body: &[u8]) -> Option<u16> {
    let session = Polling::open(address).await;
    let mut raw = Raw::open(address).await;
    raw.write(format!("POST {} HTTP/1.1\r\n{POST}\r\n{headers}\r\n\r\n", session.path())).await;
    raw.try_write(body).await;
    let status = raw.status().await;
    assert!(session.is_gone().await, "{headers}");
    status
}

#[tokio::test]
async fn e2_a_body_that_declares_itself_too_long_is_answered_413_before_it_comes() {
    let server = start();
    for length in ["1000001", "99999999999"] {
        assert_eq!(refused(server.address(), &format!("Content-Length: {length}"), b"4").await, Some(413), "{length}");
    }
}

#[tokio::test]
async fn e2_a_chunked_body_is_answered_413_once_it_is_too_long() {
    let server = start();
    let chunk = format!("186a0\r\n{}\r\n", "4".repeat(100_000));
    assert_eq!(refused(server.address(), "Transfer-Encoding: chunked", chunk.repeat(11).as_bytes()).await, Some(413));
}

#[tokio::test]
async fn e2_an_encoded_body_is_answered_415_and_a_binary_one_400() {
    let server = start();
    for encoding in ["gzip", "deflate", "br", "gzip, identity"] {
        let headers = format!("Content-Encoding: {encoding}\r\nContent-Length: 2");
        assert_eq!(refused(server.address(), &headers, b"42").await, Some(415), "{encoding}");
    }
    let session = Polling::open(server.address()).await;
    let mut raw = Raw::open(server.address()).await;
    let head = "Host: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 2";
    raw.write(format!("POST {} HTTP/1.1\r\n{head}\r\n\r\n4x", session.path())).await;
    assert_eq!(raw.status().await, Some(400));
}

#[tokio::test]
async fn e2_a_body_of_exactly_the_limit_is_read() {
    let server = start();
    let session = Polling::join(server.address(), "ann", "r").await;
    let event = format!("421[\"presence:update\",{{\"status\":\"away\",\"x\":\"{}\"}}]", "x".repeat(999_953));
    assert_eq!(event.len(), 1_000_000);
    session.post(&event).await;
    while !session.poll().await.contains("431[{\"ok\":true}]") {}
}

#[tokio::test]
async fn e6_a_client_that_leaves_its_poll_has_left_the_session() {
    let server = start();
    let session = Polling::join(server.address(), "ann", "r").await;
    let mut bob = Chatter::join(server.address(), "bob", "r").await;
    while !session.poll().await.contains("user:joined") {}
    let mut raw = Raw::open(server.address()).await;
    raw.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", session.path())).await;
    // Nothing shows from outside that a poll is held.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(raw);
    assert_eq!(bob.next("user:offline").await["userId"], "ann");
    assert!(session.is_gone().await);
}

#[tokio::test]
async fn e14_only_the_exact_path_leads_to_the_engine() {
    let server = start();
    let query = "?EIO=4&transport=polling";
    for path in
        ["//socket.io/", "/socket.io%2f", "/socket.iox/", "/socket.io", "/socket.io/x", "/SOCKET.IO/", "/./socket.io/"]
    {
        let (status, body) = http(server.address(), "GET", &format!("{path}{query}"), "").await;
        assert_eq!(status, 404, "{path}: {body}");
    }
    let session = Polling::join(server.address(), "ann", "r").await;
    for method in ["PUT", "TRACE", "HEAD", "DELETE", "PATCH", "CONNECT"] {
        for path in [HANDSHAKE.to_owned(), session.path()] {
            let mut raw = Raw::open(server.address()).await;
            raw.write(format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
            assert_eq!(raw.status().await, Some(400), "{method} {path}");
        }
    }
    session.post("421[\"presence:update\",{\"status\":\"away\"}]").await;
    assert!(session.poll().await.contains("431["), "the session is none the worse for it");
}

#[tokio::test]
async fn h1_a_request_whose_end_is_ambiguous_is_refused_and_what_follows_is_not_served() {
    let server = start();
    let smuggled = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    for (what, headers, body) in [
        ("length and encoding", "Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("encoding and length", "Transfer-Encoding: chunked\r\nContent-Length: 6", "0\r\n\r\n"),
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3", "42"),
        ("a list of lengths", "Content-Length: 2, 3", "42"),
        ("a signed length", "Content-Length: +2", "42"),
        ("chunked is not last", "Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("an unknown encoding", "Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("an absurd chunk", "Transfer-Encoding: chunked", "FFFFFFFFFFFFFFFFF\r\n42\r\n0\r\n\r\n"),
        ("junk after a chunk", "Transfer-Encoding: chunked", "2\r\n42XX0\r\n\r\n"),
        ("a folded header", "X: a\r\n Content-Length: 2", "42"),
        ("a coding besides", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        ("a coding that is none", "Transfer-Encoding: identity, chunked", "0\r\n\r\n"),
        ("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("an unknown encoding before", "Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("an unknown encoding behind", "Transfer-Encoding: chunked\r\nTransfer-Encoding: xchunked", "0\r\n\r\n"),
        ("an encoding in quotes", "Transfer-Encoding: \"chunked\"", "0\r\n\r\n"),
        ("an encoding behind a line feed", "X: a\nTransfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        ("a blank before the colon", "Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("a length in hexadecimal", "Content-Length: 0x2", "42"),
        ("no length", "Content-Length: ", "42"),
        ("a negative length", "Content-Length: -2", "42"),
        ("a negative chunk", "Transfer-Encoding: chunked", "-2\r\n42\r\n0\r\n\r\n"),
        ("a chunk's size without CR", "Transfer-Encoding: chunked", "2\n42\r\n0\r\n\r\n"),
        ("a chunk's end without CR", "Transfer-Encoding: chunked", "2\r\n42\n0\r\n\r\n"),
        ("a line end in an extension", "Transfer-Encoding: chunked", "2;x=\"\r\n\"\r\n42\r\n0\r\n\r\n"),
        ("a line feed in an extension", "Transfer-Encoding: chunked", "2;x\n42\r\n0\r\n\r\n"),
    ] {
        let session = Polling::open(server.address()).await;
        let mut raw = Raw::open(server.address()).await;
        raw.write(format!("POST {} HTTP/1.1\r\n{POST}\r\n{headers}\r\n\r\n{body}{smuggled}", session.path())).await;
        let first = raw.status().await;
        assert!(matches!(first, None | Some(400)), "{what}: {first:?}");
        let rest = raw.head().await;
        assert!(!rest.contains("HTTP/1.1 200"), "{what}: {rest}");
    }
}

#[tokio::test]
async fn h1_chunks_in_a_request_of_http_1_0_are_refused() {
    let server = start();
    let session = Polling::open(server.address()).await;
    let mut raw = Raw::open(server.address()).await;
    raw.write(format!("POST {} HTTP/1.0\r\n{POST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", session.path()))
        .await;
    assert_eq!(raw.status().await, Some(400));
}

#[tokio::test]
async fn h2_what_follows_a_refused_upgrade_is_not_taken_for_a_request() {
    let server = start();
    let mut raw = Raw::open(server.address()).await;
    let head = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8";
    raw.write(format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{head}\r\n\r\n\u{1}\u{2}\u{3}\r\n\r\n"))
        .await;
    assert!(matches!(raw.status().await, Some(400 | 426)));
    while let Some(status) = raw.status().await {
        assert_eq!(status, 400);
    }
}

#[tokio::test]
async fn h2_a_request_behind_a_refused_upgrade_is_not_served() {
    let server = start();
    let behind = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    for (path, headers, expected) in [
        ("/socket.io/?EIO=4&transport=websocket", "Sec-WebSocket-Version: 8", 426),
        ("/socket.io/?EIO=4&transport=websocket&sid=x", "Sec-WebSocket-Version: 13", 400),
        ("/livez", "", 200),
        ("/nowhere", "", 404),
    ] {
        let mut raw = Raw::open(server.address()).await;
        let upgrade = format!("Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n{headers}");
        raw.write(format!("GET {path} HTTP/1.1\r\n{}\r\n\r\n{behind}", upgrade.trim_end())).await;
        assert_eq!(raw.status().await, Some(expected), "{path}");
        assert_eq!(raw.status().await, None, "{path}");
    }
}

#[tokio::test]
async fn w12_a_head_of_more_than_16_kb_or_a_hundred_headers_is_answered_431() {
    let server = start();
    let many = (0..2000).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
    let handful = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
    for headers in [format!("X: {}\r\n", "x".repeat(17 * 1024)), many, handful] {
        let mut raw = Raw::open(server.address()).await;
        raw.try_write(format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await;
        assert_eq!(raw.status().await, Some(431));
    }
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    assert_eq!(ann.ask("message:send", json!({"roomId": "r", "content": "hi"})).await["ok"], true);
}
