//! WebSocket connections that break the rules.

use std::time::Duration;

use serde_json::json;

use crate::support::chatter::Chatter;
use crate::support::raw::{Frame, Polling, Raw, UPGRADE, frame, text, websocket_path};
use crate::support::{soon, start, start_with, token};

#[tokio::test]
async fn w1_garbage_behind_a_fresh_upgrade_request_is_closed_with_1002() {
    let server = start();
    for garbage in [&b"test"[..], b"\xf1\x80\0\0\0\0"] {
        let mut raw = Raw::open(server.address()).await;
        raw.upgrade(None, garbage).await;
        assert_eq!(raw.close_code().await, Some(1002));
        assert_eq!(raw.frame().await, Frame::End);
    }
}

#[tokio::test]
async fn w1_garbage_behind_an_upgrade_of_a_live_session_is_closed_with_1002_and_polling_goes_on() {
    let server = start();
    for garbage in [&b"test"[..], b"\xf1\x80\0\0\0\0"] {
        for _ in 0..4 {
            // The probe arrives on either core; the session stays on its own.
            let session = Polling::join(server.address(), "ann", "r").await;
            let mut raw = Raw::open(server.address()).await;
            raw.upgrade(Some(&session.sid), garbage).await;
            assert_eq!(raw.frame().await, Frame::Close(1002));
            assert_eq!(raw.frame().await, Frame::End);
            session.post("421[\"presence:update\",{\"status\":\"away\"}]").await;
            while !session.poll().await.contains("431[{\"ok\":true}]") {}
        }
    }
}

#[tokio::test]
async fn e8_an_upgrade_in_one_breath_refuses_the_held_poll_and_nothing_is_lost() {
    let server = start();
    let session = Polling::join(server.address(), "ann", "r").await;
    let mut bob = Chatter::join(server.address(), "bob", "r").await;
    while !session.poll().await.contains("user:joined") {}
    let mut poll = Raw::open(server.address()).await;
    poll.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", session.path())).await;
    // Nothing shows from outside that a poll is held.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut raw = Raw::open(server.address()).await;
    raw.upgrade(Some(&session.sid), &[text("2probe"), text("5")].concat()).await;
    assert_eq!(raw.frame().await, Frame::Text("3probe".into()));
    assert_eq!(poll.status().await, Some(400));
    drop(poll);
    bob.ask("message:send", json!({"roomId": "r", "content": "hi"})).await;
    assert!(matches!(raw.frame().await, Frame::Text(packet) if packet.starts_with("42[\"message:new\"")));
}

#[tokio::test]
async fn w2_a_reset_right_after_the_upgrade_leaves_nothing_behind() {
    let server = start_with(|settings| settings.max_connections_per_ip = std::num::NonZeroU32::new(20));
    let session = Polling::open(server.address()).await;
    for round in 0..200 {
        let sid = (round % 2 == 0).then_some(session.sid.as_str());
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n", websocket_path(sid));
        let answered = soon(async {
            loop {
                let mut raw = Raw::open(server.address()).await;
                raw.try_write(request.as_bytes()).await;
                if raw.head().await.starts_with("HTTP/1.1 101 ") {
                    break raw;
                }
                // The places of those before it are not free again yet.
                tokio::task::yield_now().await;
            }
        })
        .await;
        answered.stream.set_zero_linger().unwrap();
        let mut unanswered = Raw::open(server.address()).await;
        unanswered.try_write(request.as_bytes()).await;
        unanswered.stream.set_zero_linger().unwrap();
    }
    // Two hundred resets fit through a limit of twenty only if each gives its place back.
    session.post(&format!("40{{\"token\":\"{}\"}}", token("ann"))).await;
    assert!(session.poll().await.starts_with("40{"), "and the session that was probed so often lives on");
}

/// Sends bytes on a connected WebSocket and returns the code it is closed with.
async fn closed_with(address: std::net::SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut raw = Raw::open(address).await;
    raw.connect("eve").await;
    raw.try_write(bytes).await;
    raw.close_code().await
}

#[tokio::test]
async fn w3_a_frame_of_exabytes_is_closed_with_1009() {
    let server = start();
    for length in [0x7fff_ffff_ffff_ffff_u64, 0xffff_ffff_ffff_ffff, 1_000_001] {
        let bytes = [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
        assert_eq!(closed_with(server.address(), &bytes).await, Some(1009), "{length:#x}");
    }
}

#[tokio::test]
async fn w4_w5_a_message_of_endless_fragments_is_closed_with_1008() {
    let server = start();
    for piece in [&b"x"[..], b""] {
        let bytes = [frame(0x01, piece), frame(0x00, piece).repeat(131_000)].concat();
        assert_eq!(closed_with(server.address(), &bytes).await, Some(1008), "fragments of {} bytes", piece.len());
    }
}

#[tokio::test]
async fn w6_frames_that_rfc_6455_forbids_are_closed_with_1002() {
    let server = start();
    for (what, bytes) in [
        ("unmasked", b"\x81\x014".to_vec()),
        ("opcode 3", frame(0x83, b"")),
        ("opcode f", frame(0x8f, b"")),
        ("a long ping", frame(0x89, &[b'x'; 126])),
        ("a ping in pieces", frame(0x09, b"")),
        ("an orphan continuation", frame(0x80, b"x")),
        ("data in a message in pieces", [frame(0x01, b"4"), text("4")].concat()),
        ("compression that was not agreed on", frame(0xc1, b"4")),
    ] {
        assert_eq!(closed_with(server.address(), &bytes).await, Some(1002), "{what}");
    }
}

#[tokio::test]
async fn w7_text_that_is_not_utf_8_is_closed_with_1007_and_a_split_character_passes() {
    let server = start();
    for bytes in [&b"4\xc3\x28"[..], b"4\xc0\xaf", b"4\xed\xa0\x80", b"4\xe2\x82"] {
        assert_eq!(closed_with(server.address(), &frame(0x81, bytes)).await, Some(1007), "{bytes:?}");
    }
    let mut raw = Raw::open(server.address()).await;
    raw.connect("ann").await;
    let euro = "421[\"presence:update\",{\"status\":\"away\",\"x\":\"€\"}]".as_bytes();
    let middle = euro.iter().position(|byte| *byte == 0xe2).unwrap() + 1;
    raw.write([frame(0x01, &euro[..middle]), frame(0x80, &euro[middle..])].concat()).await;
    while raw.frame().await != Frame::Text("431[{\"ok\":true}]".into()) {}
}

#[tokio::test]
async fn w8_close_frames_are_answered_and_wrong_ones_with_1002_or_1007() {
    let server = start();
    for (payload, code) in [
        (&b"\x03"[..], 1002),
        (b"\x00\x00", 1002),
        (b"\x03\xe7", 1002),
        (b"\x03\xed", 1002),
        (b"\x03\xf7", 1002),
        (b"\x13\x88", 1002),
        (b"\x03\xe8\xc3\x28", 1007),
        (b"", 1000),
        (b"\x03\xe8bye", 1000),
    ] {
        let bytes = [frame(0x88, payload), text("421[\"room:join\",{\"roomId\":\"after\"}]")].concat();
        let mut raw = Raw::open(server.address()).await;
        raw.connect("eve").await;
        raw.try_write(&bytes).await;
        assert_eq!(raw.frame().await, Frame::Close(code), "{payload:?}");
        assert_eq!(raw.frame().await, Frame::End, "what follows a close frame is not heard");
    }
}

#[tokio::test]
async fn w9_of_a_hundred_thousand_pings_whose_pongs_nobody_reads_one_waits_at_a_time() {
    let server = start();
    let mut raw = Raw::open_narrow(server.address(), 4096).await;
    raw.connect("eve").await;
    let pings = frame(0x89, &[b'x'; 125]).repeat(100);
    for _ in 0..1000 {
        raw.write(&pings).await;
    }
    // Others are served meanwhile.
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    assert_eq!(ann.ask("message:send", json!({"roomId": "r", "content": "hi"})).await["ok"], true);
    raw.write(frame(0x88, b"")).await;
    let mut pongs = 0;
    while let Frame::Pong(payload) = raw.frame().await {
        assert_eq!(payload, [b'x'; 125]);
        pongs += 1;
    }
    assert!((1..20_000).contains(&pongs), "{pongs} pongs were kept for a client that read none");
}
