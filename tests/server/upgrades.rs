//! WebSocket handshakes: what is ignored, what is refused, and that nobody is let to compress.

use std::time::Instant;

use alt_ws::config::Origins;

use crate::support::raw::{Frame, HANDSHAKE, HttpAnswer, Polling, Raw, UPGRADE, frame, websocket_path};
use crate::support::{start, start_with};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const TOKENS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

async fn ask(address: std::net::SocketAddr, line: &str, headers: &[u8]) -> Option<HttpAnswer> {
    let mut raw = Raw::open(address).await;
    raw.write([format!("{line}\r\nHost: x\r\n").as_bytes(), headers, b"\r\n"].concat()).await;
    raw.answer().await
}

async fn upgrade(address: std::net::SocketAddr, headers: &[u8]) -> Option<HttpAnswer> {
    ask(address, &format!("GET {} HTTP/1.1", websocket_path(None)), headers).await
}

#[tokio::test]
async fn w10_bytes_that_are_no_text_are_ignored_where_nothing_is_read_and_refused_in_the_key() {
    let server = start();
    for name in
        ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Origin", "Cookie", "Authorization", "User-Agent", "X"]
    {
        let headers = [UPGRADE.as_bytes(), name.as_bytes(), b": \x80\xff\r\n"].concat();
        let answer = upgrade(server.address(), &headers).await.unwrap();
        assert_eq!(answer.status, 101, "{name}");
        assert!(answer.values("sec-websocket-protocol").is_empty(), "{name}");
    }
    for (key, rest) in [("Sec-WebSocket-Key", VERSION), ("Sec-WebSocket-Version", KEY)] {
        let headers = [TOKENS.as_bytes(), rest.as_bytes(), key.as_bytes(), b": \x80\r\n"].concat();
        let status = upgrade(server.address(), &headers).await.unwrap().status;
        assert!(matches!(status, 400 | 426), "{key}: {status}");
    }
    let strict = start_with(|settings| settings.origins = Origins::parse("https://a.example").unwrap());
    let headers = [UPGRADE.as_bytes(), b"Origin: https://a.example\x80\r\n"].concat();
    assert_eq!(upgrade(strict.address(), &headers).await.unwrap().status, 403);
}

#[tokio::test]
async fn w11_proposals_of_protocols_and_extensions_cost_nothing_and_are_declined() {
    let server = start();
    let spaces = format!("Sec-WebSocket-Protocol: a,{}x\r\n", " ".repeat(14_000));
    let started = Instant::now();
    for proposal in [
        &spaces,
        "Sec-WebSocket-Protocol: constructor, __proto__\r\n",
        "Sec-WebSocket-Extensions: constructor\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=0\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9999\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; a=\"\\\r\n",
    ] {
        let answer = upgrade(server.address(), format!("{UPGRADE}{proposal}").as_bytes()).await.unwrap();
        assert_eq!(answer.status, 101, "{proposal:.60}");
        assert!(
            answer.values("sec-websocket-extensions").is_empty() && answer.values("sec-websocket-protocol").is_empty()
        );
    }
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    // Fifty thousand spaces do not fit into a head.
    let mut raw = Raw::open(server.address()).await;
    let spaces = " ".repeat(50_000);
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n{UPGRADE}X:{spaces}x\r\n\r\n", websocket_path(None));
    raw.try_write(request.as_bytes()).await;
    assert_eq!(raw.status().await, Some(431));
}

#[tokio::test]
async fn w12_a_header_of_8_mb_that_comes_in_drops_is_cut_off_at_16_kb() {
    let server = start();
    let mut raw = Raw::open(server.address()).await;
    raw.write(format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\nX: ")).await;
    for _ in 0..17 {
        raw.try_write(&[b'x'; 1024]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.status().await, Some(431), "the rest is not waited for");
}

#[tokio::test]
async fn w13_an_upgrade_that_lacks_something_is_refused_and_told_the_version() {
    let server = start();
    let get = format!("GET {} HTTP/1.1", websocket_path(None));
    let old = format!("GET {} HTTP/1.0", websocket_path(None));
    let post = format!("POST {} HTTP/1.1", websocket_path(None));
    for (line, headers, expected) in [
        (&get, format!("{TOKENS}{VERSION}{KEY}"), 101),
        (&get, format!("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{VERSION}{KEY}"), 101),
        (&get, format!("Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n{VERSION}{KEY}"), 101),
        (&get, format!("{TOKENS}{VERSION}"), 400),
        (&get, format!("{TOKENS}{VERSION}Sec-WebSocket-Key: short\r\n"), 400),
        (&get, format!("{TOKENS}{VERSION}{KEY}{KEY}"), 400),
        (&get, format!("{TOKENS}{KEY}"), 426),
        (&get, format!("{TOKENS}{KEY}Sec-WebSocket-Version: 8\r\n"), 426),
        (&get, format!("{TOKENS}{KEY}Sec-WebSocket-Version: 12\r\n"), 426),
        (&get, format!("{TOKENS}{KEY}{VERSION}{VERSION}"), 426),
        (&get, format!("Connection: close\r\nUpgrade: websocket\r\n{VERSION}{KEY}"), 400),
        (&get, format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{VERSION}{KEY}"), 400),
        (&get, format!("Connection: Upgrade\r\n{VERSION}{KEY}"), 400),
        (&old, format!("{TOKENS}{VERSION}{KEY}"), 400),
        (&post, format!("{TOKENS}{VERSION}{KEY}Content-Length: 0\r\n"), 400),
    ] {
        let answer = ask(server.address(), line, headers.as_bytes()).await.unwrap();
        assert_eq!(answer.status, expected, "{line} {headers}");
        if expected == 426 {
            assert_eq!(answer.values("sec-websocket-version"), ["13"], "{headers}");
        }
        assert_eq!(answer.values("sec-websocket-accept").len(), usize::from(expected == 101), "{headers}");
    }
}

#[tokio::test]
async fn w14_compression_is_not_offered_and_a_compressed_frame_is_closed_unread() {
    let server = start();
    let mut bomb = Vec::with_capacity(64);
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
    deflate.compress_vec(&[b'4'; 4096], &mut bomb, flate2::FlushCompress::Finish).unwrap();
    assert!(bomb.len() < 30, "{}", bomb.len());
    for (what, bytes) in [
        ("a whole message", frame(0xc1, &bomb)),
        ("the beginning of one", frame(0x41, &bomb)),
        ("a binary message", frame(0xc2, &bomb)),
        ("a continuation", [frame(0x01, b"4"), frame(0xc0, &bomb)].concat()),
        ("a ping", frame(0xc9, b"x")),
        ("a close", frame(0xc8, b"\x03\xe8")),
    ] {
        let mut raw = Raw::open(server.address()).await;
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        raw.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n{UPGRADE}{offer}\r\n", websocket_path(None))).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.values("sec-websocket-extensions").len()), (101, 0));
        assert!(matches!(raw.frame().await, Frame::Text(open) if open.starts_with("0{")));
        raw.try_write(&bytes).await;
        assert_eq!(raw.close_code().await, Some(1002), "{what}");
    }
}

/// A WebSocket that may compress, connected as `user`, or attached to a polling session.
async fn compressing(address: std::net::SocketAddr, sid: Option<&str>) -> Raw {
    let mut raw = Raw::open(address).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    raw.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n{UPGRADE}{offer}\r\n", websocket_path(sid))).await;
    let answer = raw.answer().await.unwrap();
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!((answer.status, answer.values("sec-websocket-extensions")), (101, vec![agreed]));
    raw
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    let mut state = flate2::Compress::new(flate2::Compression::best(), false);
    state.compress_vec(payload, &mut out, flate2::FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

#[tokio::test]
async fn w14_where_compression_is_agreed_on_bombs_are_cut_off_and_honest_messages_are_not() {
    let server = start_with(|settings| settings.edge.deflate = true);
    for (what, bytes, expected) in [
        ("a bomb of 16 MB", frame(0xc1, &deflated(&vec![b'4'; 16 << 20])), 1009),
        ("one byte too many", frame(0xc1, &deflated(&vec![b'4'; 1_000_001])), 1009),
        ("a binary bomb", frame(0xc2, &deflated(&vec![0; 2_000_000])), 1009),
        ("a stream cut short", frame(0xc1, &deflated(&b"42[\"x\"]".repeat(50))[..9]), 1007),
        ("no stream", frame(0xc1, b"\xff\xff\xff"), 1007),
        ("text that is not UTF-8", frame(0xc1, &deflated(&b"4\xc3\x28".repeat(50))), 1007),
        ("a compressed ping", frame(0xc9, b"x"), 1002),
        ("a compressed close", frame(0xc8, b"\x03\xe8"), 1002),
        ("a compressed continuation", [frame(0x41, b"4"), frame(0xc0, b"")].concat(), 1002),
        ("another reserved bit", frame(0xe1, b"4"), 1002),
    ] {
        let mut raw = compressing(server.address(), None).await;
        assert!(matches!(raw.frame().await, Frame::Text(open) if open.starts_with("0{")));
        raw.try_write(&bytes).await;
        assert_eq!(raw.close_code().await, Some(expected), "{what}");
    }
    // Born on WebSocket, and upgraded on either core: what is compressed is understood, in one piece or in several.
    for round in 0..4 {
        let session = Polling::join(server.address(), "ann", "r").await;
        let mut raw = compressing(server.address(), Some(&session.sid)).await;
        let probe = deflated(b"2probe");
        raw.write([frame(0x41, &probe[..2]), frame(0x80, &probe[2..])].concat()).await;
        assert_eq!(raw.frame().await, Frame::Text("3probe".into()), "{round}");
        raw.write(frame(0xc1, &deflated(b"5"))).await;
        let content = "over and over ".repeat(4000);
        let send = format!("421[\"message:send\",{{\"roomId\":\"r\",\"content\":\"{content}\"}}]");
        raw.write(frame(0xc1, &deflated(send.as_bytes()))).await;
        loop {
            match raw.frame().await {
                Frame::Deflated(payload) => {
                    assert!(payload.len() < content.len() / 10, "{}", payload.len());
                    let message = inflated(&payload);
                    assert!(message.starts_with("42[\"message:new\"") && message.contains(&content));
                    break;
                }
                Frame::Text(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    // Who did not offer it is sent nothing of the kind.
    let mut plain = Raw::open(server.address()).await;
    plain.connect("bob").await;
    plain.write(crate::support::raw::text("42[\"room:join\",{\"roomId\":\"r\",\"since\":0}]")).await;
    while !matches!(plain.frame().await, Frame::Text(packet) if packet.contains("over and over")) {}
}

fn inflated(payload: &[u8]) -> String {
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut out = Vec::with_capacity(1_000_000);
    flate2::Decompress::new(false).decompress_vec(&whole, &mut out, flate2::FlushDecompress::Sync).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn e11_pages_of_other_origins_get_no_websocket_and_no_permission() {
    let server = start_with(|settings| settings.origins = Origins::parse("https://app.example.com").unwrap());
    let session = Polling::open(server.address()).await;
    for (origin, expected) in [
        ("Origin: https://app.example.com", 101),
        ("Origin: null", 403),
        ("Origin: https://app.example.com.evil", 403),
        ("Origin: https://evilapp.example.com", 403),
        ("Origin: http://app.example.com", 403),
        ("Origin: https://app.example.com:8443", 403),
        ("Origin: https://evil.example\r\nOrigin: https://app.example.com", 403),
        ("Origin: https://app.example.com\r\nOrigin: https://evil.example", 403),
        ("Origin: https://evil.example\r\nX: https://app.example.com", 403),
        ("Origin: ", 403),
    ] {
        for sid in [None, Some(session.sid.as_str())] {
            let line = format!("GET {} HTTP/1.1", websocket_path(sid));
            let answer = ask(server.address(), &line, format!("{UPGRADE}{origin}\r\n").as_bytes()).await.unwrap();
            assert_eq!(answer.status, expected, "{origin:?} {sid:?}");
        }
        for line in [format!("GET {HANDSHAKE} HTTP/1.1"), format!("OPTIONS {HANDSHAKE} HTTP/1.1")] {
            let answer = ask(server.address(), &line, format!("{origin}\r\n").as_bytes()).await.unwrap();
            let shown = usize::from(expected == 101);
            assert_eq!(answer.values("access-control-allow-origin").len(), shown, "{origin:?} {line}");
            assert_eq!(answer.values("access-control-allow-credentials").len(), shown, "{origin:?} {line}");
            assert!(answer.values("vary").contains(&"Origin"), "{origin:?} {line}");
        }
    }
    // A bare line end inside of a value is not let through as part of it.
    for smuggled in [&b"Origin: https://app.example.com\rX: y\r\n"[..], b"Origin: https://app.example.com\0\r\n"] {
        let answer = upgrade(server.address(), &[UPGRADE.as_bytes(), smuggled].concat()).await;
        assert!(answer.is_none_or(|answer| matches!(answer.status, 400 | 403)));
    }
}
