//! Clients of Engine.IO 3, with `ALLOW_EIO3` and without.

use std::net::SocketAddr;
use std::time::Duration;

use alt_ws::server::Server;
use alt_ws::server::settings::Protocol;
use serde_json::Value;

use crate::support::raw::{Frame, HANDSHAKE, HttpAnswer, Polling, Raw, UPGRADE, frame, http, text};
use crate::support::{start, start_with, token};

const CHAT: &str = "/socket.io/?EIO=3";
const ECHO: &str = "/engine.io/?EIO=3";
const OCTET_STREAM: &str = "Content-Type: application/octet-stream\r\n";
const UNKNOWN: &[u8] = br#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_REQUEST: &[u8] = br#"{"code":3,"message":"Bad request"}"#;

fn start_old() -> Server {
    start_with(|settings| {
        settings.allow_eio3 = true;
        settings.mounts.push(("/engine.io/".into(), Protocol::EngineIoEcho));
    })
}

fn bearer(user: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(user))
}

/// What a request is answered with.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    is_binary: bool,
    body: Vec<u8>,
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut raw = Raw::open(address).await;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}");
    raw.write([head.as_bytes(), b"\r\n\r\n", body].concat()).await;
    let HttpAnswer { head, body, .. } = raw.answer().await.unwrap();
    let is_binary = head.contains("content-type: application/octet-stream\r\n");
    Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), is_binary, body }
}

/// Takes a text payload apart as JavaScript does, in UTF-16 code units.
fn packets(body: &str) -> Vec<String> {
    let mut rest: Vec<u16> = body.encode_utf16().collect();
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let mark = rest.iter().position(|unit| *unit == u16::from(b':')).unwrap();
        let length: usize = String::from_utf16(&rest[..mark]).unwrap().parse().unwrap();
        packets.push(String::from_utf16(&rest[mark + 1..][..length]).unwrap());
        rest.drain(..mark + 1 + length);
    }
    packets
}

/// A text payload of such packets.
fn payload(packets: &[&str]) -> Vec<u8> {
    packets.iter().flat_map(|packet| format!("{}:{packet}", packet.encode_utf16().count()).into_bytes()).collect()
}

/// A session over polling.
struct Old {
    address: SocketAddr,
    path: String,
}

impl Old {
    async fn open(address: SocketAddr, mount: &str, headers: &str) -> Self {
        let path = format!("{mount}&transport=polling");
        let open = ask(address, "GET", &path, headers, b"").await;
        let open = packets(&String::from_utf8(open.body).unwrap());
        assert_eq!(open.len(), 1, "{open:?}");
        let open: Value = serde_json::from_str(open[0].strip_prefix('0').unwrap()).unwrap();
        assert_eq!(open["upgrades"], serde_json::json!(["websocket"]));
        Self { address, path: format!("{path}&sid={}", open["sid"].as_str().unwrap()) }
    }

    async fn poll(&self) -> Answer {
        ask(self.address, "GET", &self.path, "", b"").await
    }

    /// The packets of a poll's answer, which is text.
    async fn hear(&self) -> Vec<String> {
        let answer = self.poll().await;
        assert_eq!((answer.status, answer.is_binary), (200, false), "{answer:?}");
        packets(&String::from_utf8(answer.body).unwrap())
    }

    async fn post(&self, headers: &str, body: &[u8]) -> Answer {
        ask(self.address, "POST", &self.path, headers, body).await
    }

    async fn say(&self, headers: &str, body: &[u8]) {
        let answer = self.post(headers, body).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    }

    async fn is_gone(&self) -> bool {
        self.poll().await == Answer { status: 400, is_binary: false, body: UNKNOWN.to_vec() }
    }
}

/// A WebSocket, at a path and query, and its answer's status.
async fn websocket(address: SocketAddr, path: &str, headers: &str) -> (Raw, String) {
    let mut raw = Raw::open(address).await;
    raw.write(format!("GET {path}&transport=websocket HTTP/1.1\r\nHost: x\r\n{headers}{UPGRADE}\r\n")).await;
    let head = raw.head().await;
    (raw, head.split(' ').nth(1).unwrap_or_default().to_owned())
}

async fn hear(raw: &mut Raw) -> String {
    match raw.frame().await {
        Frame::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_over_polling_is_connected_by_its_header_and_its_packets_have_lengths() {
    let server = start_old();
    let ann = Old::open(server.address(), CHAT, &bearer("ann")).await;
    assert_eq!(ann.hear().await, ["40"], "at once, and without an id");
    ann.say("", &payload(&["2", "421[\"room:join\",{\"roomId\":\"günther😀\"}]", "40"])).await;
    let mut heard = Vec::new();
    while !heard.iter().any(|packet: &String| packet.starts_with("431[{\"ok\":true")) {
        heard.extend(ann.hear().await);
    }
    assert_eq!(heard[0], "3");
    assert!(heard.iter().any(|packet| packet.starts_with("42[\"room:joined\",{\"roomId\":\"günther😀\"")), "{heard:?}");
}

#[tokio::test]
async fn a_websocket_is_connected_by_its_header_and_its_pings_are_answered() {
    let server = start_old();
    let (mut ann, status) = websocket(server.address(), CHAT, &bearer("ann")).await;
    assert_eq!(status, "101");
    assert!(hear(&mut ann).await.starts_with("0{"));
    assert_eq!(hear(&mut ann).await, "40");
    ann.write(text("2hello")).await;
    assert_eq!(hear(&mut ann).await, "3hello");
    ann.write(text("421[\"presence:update\",{\"status\":\"away\"}]")).await;
    while !hear(&mut ann).await.starts_with("431[{\"ok\":true}]") {}
    ann.write(text("3")).await;
    assert_eq!(ann.close_code().await, Some(1002), "clients ping and do not pong");
}

#[tokio::test]
async fn who_is_refused_hears_why_and_is_closed_after_the_time_to_connect() {
    let server = start_with(|settings| {
        settings.allow_eio3 = true;
        settings.connect_timeout = Duration::from_millis(200);
    });
    for (headers, error) in [
        (String::new(), "44\"Authentication required\""),
        ("Authorization: Bearer abc\r\n".to_owned(), "44\"Invalid token\""),
    ] {
        let (mut raw, _) = websocket(server.address(), CHAT, &headers).await;
        assert!(hear(&mut raw).await.starts_with("0{"));
        assert_eq!(hear(&mut raw).await, error);
        assert!(matches!(raw.frame().await, Frame::Close(_)));
        let session = Old::open(server.address(), CHAT, &headers).await;
        assert_eq!(session.hear().await, [error]);
        assert_eq!(session.hear().await, ["1"]);
        assert!(session.is_gone().await);
    }
    let (mut raw, _) = websocket(server.address(), &format!("{CHAT}&token={}", token("ann")), "").await;
    assert!(hear(&mut raw).await.starts_with("0{"));
    assert_eq!(hear(&mut raw).await, "44\"Authentication required\"", "a token in the query is none");
}

#[tokio::test]
async fn bytes_come_as_bytes_or_as_base64_if_the_client_says_so() {
    let server = start_old();
    let binary = b"\x01\x03\xff\x04\x01\x02".as_slice();
    for (mount, answer) in [
        (
            ECHO.to_owned(),
            Answer { status: 200, is_binary: true, body: b"\0\x02\xff4a\x01\x03\xff\x04\x01\x02".to_vec() },
        ),
        (format!("{ECHO}&b64=1"), Answer { status: 200, is_binary: false, body: b"2:4a6:b4AQI=".to_vec() }),
    ] {
        let session = Old::open(server.address(), &mount, "").await;
        session.say(OCTET_STREAM, &[b"\0\x02\xff4a", binary].concat()).await;
        assert_eq!(session.poll().await, answer);
        session.say("Content-Type: text/plain;charset=UTF-8\r\n", &payload(&["4a", "b4AQI="])).await;
        assert_eq!(session.poll().await, answer);
        session.say(OCTET_STREAM, b"\0\x04\xff4\xe2\x82\xac").await;
        assert_eq!(session.hear().await, ["4€"], "text alone is always text");
    }
    for (path, expected) in
        [(ECHO.to_owned(), Frame::Binary(vec![4, 1, 2])), (format!("{ECHO}&b64=1"), Frame::Text("b4AQI=".into()))]
    {
        let (mut raw, _) = websocket(server.address(), &path, "").await;
        assert!(hear(&mut raw).await.starts_with("0{"));
        for message in [frame(0x82, &[4, 1, 2]), text("b4AQI=")] {
            raw.write(message).await;
            assert_eq!(raw.frame().await, expected);
        }
        raw.write(frame(0x82, &[2])).await;
        assert_eq!(hear(&mut raw).await, "3", "other packets have their types in binary messages, too");
    }
}

#[tokio::test]
async fn an_upgrade_moves_the_session_and_a_websocket_that_wants_base64_gets_it() {
    let server = start_old();
    for (b64, expected) in [("", Frame::Binary(vec![4, 7])), ("&b64=1", Frame::Text("b4Bw==".into()))] {
        let session = Old::open(server.address(), ECHO, "").await;
        let path = session.path.replace("&transport=polling", "") + b64;
        let (mut raw, status) = websocket(server.address(), &path, "").await;
        assert_eq!(status, "101");
        raw.write(text("2probe")).await;
        assert_eq!(hear(&mut raw).await, "3probe");
        for _ in 0..3 {
            assert_eq!(session.hear().await, ["6"]);
        }
        session.say(OCTET_STREAM, b"\x01\x02\xff\x04\x07").await;
        raw.write(text("5")).await;
        assert_eq!(raw.frame().await, expected);
        assert_eq!(session.poll().await.body, BAD_REQUEST, "polling is over");
    }
}

#[tokio::test]
async fn e1_a_binary_post_always_gets_a_finished_response() {
    let server = start_old();
    let session = Old::open(server.address(), ECHO, "").await;
    session.say(OCTET_STREAM, b"\x01\x01\xff\x04").await;
    for body in [&b"4x"[..], b"", b"\x01", b"\0\x02\xff4", b"\0\x01\xff9", b"\x01\xff", &[255; 100_000]] {
        let session = Old::open(server.address(), ECHO, "").await;
        let answer = session.post(OCTET_STREAM, body).await;
        assert_eq!((answer.status, answer.body.as_slice()), (400, BAD_REQUEST), "{body:.20?}");
        assert!(session.is_gone().await);
    }
    let session = Polling::open(server.address()).await;
    let answer = ask(server.address(), "POST", &session.path(), OCTET_STREAM, b"\0\x02\xff4x").await;
    assert_eq!(answer.status, 400, "and none is taken in revision 4");
    assert!(session.is_gone().await);
}

#[tokio::test]
async fn e3_a_payload_of_too_many_packets_is_refused_whole_and_one_of_many_is_not() {
    let server = start_old();
    for (headers, piece) in [("", &b"2:4x"[..]), (OCTET_STREAM, b"\0\x02\xff4x"), (OCTET_STREAM, b"\x01\x01\xff\x04")] {
        let session = Old::open(server.address(), ECHO, "").await;
        session.say(headers, &piece.repeat(1024)).await;
        for count in [1025, 1_000_000 / piece.len()] {
            let session = Old::open(server.address(), ECHO, "").await;
            assert_eq!(session.post(headers, &piece.repeat(count)).await.body, BAD_REQUEST);
            assert!(session.is_gone().await);
        }
    }
}

#[tokio::test]
async fn e4_without_the_setting_revision_3_is_not_spoken() {
    let server = start();
    let unsupported = r#"{"code":5,"message":"Unsupported protocol version"}"#;
    let path = format!("{CHAT}&transport=polling");
    assert_eq!(http(server.address(), "GET", &path, "").await, (400, unsupported.to_owned()));
    assert_eq!(websocket(server.address(), CHAT, "").await.1, "400");
}

#[tokio::test]
async fn e4_a_session_keeps_its_revision() {
    let server = start_old();
    let old = Old::open(server.address(), ECHO, "").await;
    let new = Polling::open(server.address()).await;
    let refused = Answer { status: 400, is_binary: false, body: BAD_REQUEST.to_vec() };
    for path in [
        old.path.replace("EIO=3", "EIO=4"),
        old.path.replace("EIO=3", "EIO=5"),
        old.path.replace("EIO=3&", ""),
        new.path().replace("EIO=4", "EIO=3"),
    ] {
        for method in ["GET", "POST"] {
            assert_eq!(ask(server.address(), method, &path, "", b"").await, refused, "{method} {path}");
        }
        let path = path.replace("&transport=polling", "").replace("transport=polling&", "");
        assert_eq!(websocket(server.address(), &path, "").await.1, "400", "{path}");
    }
    old.say("", b"2:4x").await;
    assert_eq!(old.hear().await, ["4x"], "neither session is the worse for it");
    new.post(&format!("40{{\"token\":\"{}\"}}", token("ann"))).await;
    assert!(new.poll().await.starts_with("40{"));
    assert_eq!(ask(server.address(), "GET", &format!("{HANDSHAKE}&EIO=3"), "", b"").await.body, BAD_REQUEST);
}

#[tokio::test]
async fn e10_what_no_client_may_send_ends_the_session() {
    let server = start_old();
    for body in
        ["", "1:7", "1:a", "2:0{", "1:6", "1:3", "3:b4!", "5:bAQID", "0:", "4x", "3:4x", "d=4%3A42%5B%5D", "1:4\x1e4"]
    {
        let session = Old::open(server.address(), ECHO, "").await;
        let answer = session.post("Content-Type: application/x-www-form-urlencoded\r\n", body.as_bytes()).await;
        assert!(answer.body == BAD_REQUEST || body == "1:3", "{body}: {answer:?}");
        assert!(session.is_gone().await, "{body}");
    }
    let binary: [&[u8]; 5] = [&[], &[0, b'{'], &[6], &[7], b"4x"];
    let messages = binary.iter().map(|message| frame(0x82, message));
    let messages = messages.chain(["", "7", "a", "0{", "6", "b4!", "bAQID"].map(text));
    for message in messages {
        let (mut raw, _) = websocket(server.address(), ECHO, "").await;
        raw.write(&message).await;
        assert_eq!(raw.close_code().await, Some(1002), "{message:?}");
    }
}
