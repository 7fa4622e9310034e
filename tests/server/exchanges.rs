//! Requests and answers in time and in order: slow clients, clients that do not read, pipelines, what is reflected.

use std::fmt::Write as _;
use std::time::Duration;

use alt_ws::server::settings::HttpTimes;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::support::chatter::Chatter;
use crate::support::raw::{Frame, HANDSHAKE, Polling, Raw, UPGRADE, get, websocket_path};
use crate::support::{soon, start, start_with};

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

const SHORT: Duration = Duration::from_millis(300);

fn times(change: impl FnOnce(&mut HttpTimes)) -> alt_ws::server::Server {
    start_with(|settings| change(&mut settings.http))
}

/// How often a request was refused or a connection cut for a reason.
async fn refused(address: std::net::SocketAddr, reason: &str) -> u64 {
    let page = String::from_utf8(get(address, "/metrics", "").await.body).unwrap();
    let sample = format!("alt_ws_http_refused_total{{reason=\"{reason}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&sample)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn h1_a_request_that_reads_and_has_a_body_is_refused_and_its_body_is_not_served() {
    let server = start();
    let session = Polling::join(server.address(), "ann", "r").await;
    for path in ["/livez".to_owned(), "/nowhere".to_owned(), HANDSHAKE.to_owned(), session.path()] {
        for framing in [format!("Content-Length: {}\r\n\r\n{LIVEZ}", LIVEZ.len()), chunked(LIVEZ)] {
            let mut raw = Raw::open(server.address()).await;
            raw.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{framing}")).await;
            assert_eq!(raw.status().await, Some(400), "{path} {framing}");
            assert_eq!(raw.head().await, "", "{path} {framing}");
        }
    }
    assert_eq!(refused(server.address(), "ambiguous").await, 8);
    let mut raw = Raw::open(server.address()).await;
    raw.write("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned() + LIVEZ).await;
    assert_eq!((raw.status().await, raw.status().await), (Some(200), Some(200)), "an empty body is none");
}

fn chunked(body: &str) -> String {
    format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
async fn h1_a_length_beside_chunks_ends_the_connection_with_the_answer() {
    let server = start();
    for headers in
        ["Content-Length: 6\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 6"]
    {
        let session = Polling::open(server.address()).await;
        let mut raw = Raw::open(server.address()).await;
        let chunks = "2\r\n40\r\n0\r\n\r\n";
        raw.write(format!("POST {} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{chunks}{LIVEZ}", session.path())).await;
        assert_eq!(raw.status().await, Some(200), "the chunks count (RFC 9112, 6.3): {headers}");
        assert_eq!(raw.head().await, "", "and what follows is not read: {headers}");
    }
}

#[tokio::test]
async fn h2_what_comes_before_the_101_is_never_taken_for_a_request() {
    let server = start();
    let mut raw = Raw::open(server.address()).await;
    raw.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n{LIVEZ}", websocket_path(None))).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
    let mut frames = Vec::new();
    while let frame @ (Frame::Text(_) | Frame::Close(_)) = raw.frame().await {
        frames.push(frame);
    }
    assert!(matches!(&frames[..], [Frame::Text(open), Frame::Close(1002)] if open.starts_with("0{")), "{frames:?}");
}

#[tokio::test]
async fn h3_a_head_that_stands_still_or_trickles_and_an_idle_connection_are_closed_in_time() {
    let server = times(|times| times.head = SHORT);
    for begun in ["", "GET /livez HTTP/1.1\r\nHo", LIVEZ] {
        let mut raw = Raw::open(server.address()).await;
        raw.write(begun).await;
        if begun == LIVEZ {
            assert_eq!(raw.status().await, Some(200));
        }
        assert!(matches!(raw.status().await, None | Some(408)), "{begun}");
    }
    let mut raw = Raw::open(server.address()).await;
    let mut writing = raw.second_handle();
    let trickle = async {
        while writing.write_all(b"X").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await
        }
    };
    let (head, ()) = tokio::join!(raw.head(), soon(trickle));
    assert!(!head.contains("200"), "{head}");
    assert_eq!(refused(server.address(), "head_late_or_idle").await, 4);
}

#[tokio::test]
async fn h3_a_body_that_stands_still_is_answered_408_and_ends_its_session() {
    let server = times(|times| times.body = SHORT);
    let session = Polling::open(server.address()).await;
    let mut raw = Raw::open(server.address()).await;
    raw.write(format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4", session.path())).await;
    assert_eq!(raw.status().await, Some(408));
    assert!(session.is_gone().await);
    assert_eq!(refused(server.address(), "body_late").await, 1);
}

#[tokio::test]
async fn h3_h4_a_client_that_asks_without_end_and_reads_nothing_is_not_read_either_and_cut_off() {
    let server = times(|times| times.answer = SHORT);
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    let mut deaf = Raw::open_narrow(server.address(), 4096).await;
    // Far more than the kernel's buffers of both ends take while nobody reads.
    let requests = LIVEZ.repeat(1_000_000);
    let written = soon(deaf.stream.write_all(requests.as_bytes())).await;
    assert!(written.is_err(), "the server went on reading what it could not answer");
    soon(async { while refused(server.address(), "answer_late").await == 0 {} }).await;
    assert_eq!(ann.ask("message:send", json!({"roomId": "r", "content": "hi"})).await["ok"], true);
}

#[tokio::test]
async fn h3_a_client_that_does_not_take_the_answer_to_its_poll_is_cut_off() {
    let server = times(|times| times.answer = SHORT);
    let session = Polling::join(server.address(), "lazy", "r").await;
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    for _ in 0..15 {
        ann.ask("message:send", json!({"roomId": "r", "content": "x".repeat(60_000)})).await;
    }
    let mut deaf = Raw::open_narrow(server.address(), 4096).await;
    deaf.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", session.path())).await;
    soon(async { while refused(server.address(), "answer_late").await == 0 {} }).await;
    assert_eq!(ann.ask("message:send", json!({"roomId": "r", "content": "hi"})).await["ok"], true);
}

#[tokio::test]
async fn h4_ten_thousand_pipelined_requests_are_answered_in_their_order() {
    const REQUESTS: usize = 10_000;
    let server = start();
    let mut raw = Raw::open(server.address()).await;
    let paths = [("/livez", 200), ("/nowhere", 404), ("/readyz", 200), ("/dev/token?user=x", 404)];
    let all = (0..REQUESTS).fold(String::new(), |mut all, n| {
        let _ = write!(all, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", paths[n * n % 7 % 4].0);
        all
    });
    let mut writing = raw.second_handle();
    let written = async { writing.write_all(all.as_bytes()).await.unwrap() };
    let answered = async {
        for n in 0..REQUESTS {
            assert_eq!(raw.status().await, Some(paths[n * n % 7 % 4].1), "{n}");
        }
    };
    tokio::join!(written, answered);
}

#[tokio::test]
async fn h4_a_body_that_is_refused_is_not_read_as_requests() {
    let server = start();
    let session = Polling::open(server.address()).await;
    let mut raw = Raw::open(server.address()).await;
    let body = LIVEZ.repeat(1_100_000 / LIVEZ.len());
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}", session.path(), body.len());
    raw.write(format!("{head}\r\n\r\n{body}")).await;
    assert_eq!(raw.status().await, Some(413));
    raw.try_write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(matches!(raw.status().await, None | Some(404)), "only what follows the body is a request");
}

#[tokio::test]
async fn h5_no_value_of_a_request_becomes_a_header_of_the_answer() {
    let server = start_with(|settings| settings.edge.cookie_name = alt_ws::config::CookieName::parse("io"));
    let session = Polling::open(server.address()).await;
    let inject = "%0d%0aX-Injected:%201%0d%0a%0d%0a";
    let mut requests = Vec::new();
    for path in [
        format!("/{inject}"),
        format!("/livez?{inject}"),
        format!("{HANDSHAKE}&t={inject}"),
        format!("{HANDSHAKE}&sid={inject}"),
        format!("{}{inject}", session.path()),
        format!("/socket.io/?EIO=4&transport={inject}"),
        format!("/dev/token?user={inject}"),
    ] {
        requests.push(format!("GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n"));
    }
    for name in
        ["Origin", "Host", "Cookie", "Access-Control-Request-Headers", "Sec-WebSocket-Protocol", "X-Forwarded-For"]
    {
        for value in [inject, "a\rX-Injected: 1", "a\u{85}X-Injected: 1", "a\0X-Injected: 1"] {
            for method in ["GET", "OPTIONS"] {
                requests.push(format!("{method} {HANDSHAKE} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n"));
            }
        }
    }
    for request in requests {
        let mut raw = Raw::open(server.address()).await;
        raw.write(&request).await;
        let head = raw.head().await.to_lowercase();
        assert!(head.starts_with("http/1.1 "), "{request}");
        let injected = head.split(['\r', '\n', '\u{85}']).any(|line| line.starts_with("x-injected"));
        assert!(!injected, "{request}{head}");
    }
}

#[test]
fn h7_the_server_is_built_without_http_2() {
    let lock = include_str!("../../Cargo.lock");
    assert!(lock.contains("\nname = \"hyper\"\n") && !lock.contains("\nname = \"h2\"\n"));
}
