//! Too much of everything from one socket, and too many in one room: what it costs the others.

use std::time::{Duration, Instant};

use alt_ws::chat::app::{self, Chat};
use alt_ws::chat::limit::Rates;
use alt_ws::config::limits::MAX_ROOMS_PER_SOCKET;
use alt_ws::server::Server;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::chatter::Chatter;
use crate::support::raw::{Frame, Raw, text};
use crate::support::{chat, settings, start};

/// What the program runs with when nobody says otherwise.
const RATES: Rates = Rates { events: 50, bytes: 256 * 1024 };

/// Long for an answer, short for somebody who waits: the machine that runs the tests may be busy.
const BEARABLE: Duration = Duration::from_secs(3);

/// Sends `count` events as fast as they are answered, a few hundred to a segment, and returns how many were accepted.
async fn flood(raw: &mut Raw, count: usize, event: &str, payload: &Value) -> usize {
    const SEGMENT: usize = 500;
    let mut accepted = 0;
    for from in (0..count).step_by(SEGMENT) {
        let ids = from..(from + SEGMENT).min(count);
        let mut unanswered = ids.len();
        let segment: Vec<u8> = ids.flat_map(|id| text(&format!("42{id}{}", json!([event, payload])))).collect();
        raw.write(segment).await;
        while unanswered > 0 {
            let Frame::Text(packet) = raw.frame().await else { panic!("the connection ended") };
            match packet.as_str() {
                "2" => raw.write(text("3")).await,
                packet if packet.starts_with("43") => {
                    unanswered -= 1;
                    accepted += usize::from(packet.contains("\"ok\":true"));
                    assert!(packet.contains("\"ok\":true") || packet.contains("\"rate_limited\""), "{packet}");
                }
                _ => {}
            }
        }
    }
    accepted
}

#[tokio::test]
async fn r4_whatever_one_socket_sends_the_rate_holds_and_the_others_chat() {
    let chat = app::Settings { rates: RATES, ..chat() };
    let server = Server::start(settings(), move |core| Chat::new(core, chat)).unwrap();
    let address = server.address();
    let started = Instant::now();
    let mut eve = Raw::open(address).await;
    eve.connect("eve").await;
    eve.write(text("42[\"room:join\",{\"roomId\":\"r\"}]")).await;
    let mut bob = Chatter::join(address, "bob", "r").await;
    let mut ann = Chatter::join(address, "ann", "r").await;
    let message = json!({"roomId": "r", "content": "x"});
    let flooding = flood(&mut eve, 10_000, "message:send", &message);
    let chatting = async {
        for number in 0..20 {
            let asked = Instant::now();
            let content = format!("between floods {number}");
            let sent = ann.ask("message:send", json!({"roomId": "r", "content": content})).await;
            assert_eq!(sent["ok"], true, "{sent}");
            while bob.next("message:new").await["content"] != content.as_str() {}
            assert!(asked.elapsed() < BEARABLE, "{:?}", asked.elapsed());
        }
    };
    let (accepted, ()) = tokio::join!(flooding, chatting);
    // Two seconds' worth at once, less the join, and the rate from then on.
    let most = 2 * 50 + usize::try_from(started.elapsed().as_millis()).unwrap() * 50 / 1000;
    assert!((99..=most).contains(&accepted), "{accepted} of at most {most}");
}

#[tokio::test]
async fn r4_a_flood_within_no_limit_is_answered_to_the_last_event() {
    let server = start();
    let mut eve = Raw::open(server.address()).await;
    eve.connect("eve").await;
    let answered = flood(&mut eve, 20_000, "presence:update", &json!({"status": "away"})).await;
    assert_eq!(answered, 20_000);
}

#[tokio::test]
async fn r7_a_burst_that_no_answer_is_waited_for_is_answered_as_it_is_read() {
    const BURST: usize = 15_000;
    let chat = app::Settings { rates: RATES, ..chat() };
    let server = Server::start(settings(), move |core| Chat::new(core, chat)).unwrap();
    let mut eve = Raw::open(server.address()).await;
    eve.connect("eve").await;
    // All of it lies in the kernel's buffers before the server has read the half.
    let burst = text("42[\"typing:start\",{\"roomId\":\"r\"}]").repeat(BURST);
    let mut writing = eve.second_handle();
    let written = async { writing.write_all(&burst).await.unwrap() };
    let answered = async {
        let mut answers = 0;
        while answers < BURST {
            let Frame::Text(packet) = eve.frame().await else { panic!("cut off after {answers} answers") };
            answers += usize::from(packet.starts_with("42[\"error\""));
        }
    };
    tokio::join!(written, answered);
}

#[tokio::test]
async fn r4_of_a_thousand_rooms_a_socket_enters_as_many_as_it_may_and_leaves_all_of_them_with_itself() {
    let server = start();
    let mut bob = Chatter::connect(server.address(), "bob").await;
    for room in ["room0", "room99"] {
        bob.ask("room:join", json!({"roomId": room})).await;
    }
    let mut eve = Chatter::connect(server.address(), "eve").await;
    let mut entered = 0;
    for number in 0..1000 {
        let answer = eve.ask("room:join", json!({"roomId": format!("room{number}")})).await;
        match answer["ok"].as_bool().unwrap() {
            true => entered += 1,
            false => assert_eq!(answer["error"]["code"], "too_large", "{answer}"),
        }
    }
    assert_eq!(entered, MAX_ROOMS_PER_SOCKET);
    eve.ask("room:leave", json!({"roomId": "room5"})).await;
    assert_eq!(eve.ask("room:join", json!({"roomId": "room999"})).await["ok"], true, "one left, one entered");
    drop(eve);
    // The end of a socket takes it out of each of them.
    assert_eq!(bob.next("user:offline").await["userId"], "eve");
    for room in ["room0", "room99"] {
        assert_eq!(bob.ask("message:send", json!({"roomId": room, "content": "alone again"})).await["ok"], true);
    }
}

#[tokio::test]
async fn r4_ten_thousand_typing_events_are_told_to_the_others_every_three_seconds() {
    let server = start();
    let started = Instant::now();
    let mut bob = Chatter::join(server.address(), "bob", "r").await;
    let mut ann = Raw::open(server.address()).await;
    ann.connect("ann").await;
    ann.write(text("42[\"room:join\",{\"roomId\":\"r\"}]")).await;
    bob.next("user:joined").await;
    assert_eq!(flood(&mut ann, 10_000, "typing:start", &json!({"roomId": "r"})).await, 10_000);
    ann.write(text("42[\"message:send\",{\"roomId\":\"r\",\"content\":\"barrier\"}]")).await;
    bob.next("message:new").await;
    let told = bob.count("typing:user");
    let most = 1 + started.elapsed().as_secs() / 3;
    assert!(told >= 1 && u64::try_from(told).unwrap() <= most, "{told} of at most {most}");
}

#[tokio::test]
async fn r6_a_huge_room_in_an_uproar_does_not_keep_two_others_from_chatting() {
    const CROWD: usize = 300;
    const UPROAR: usize = 300;
    let server = start();
    let address = server.address();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let mut raw = Raw::open(address).await;
        raw.connect(&format!("user{number}")).await;
        raw.write(text("42[\"room:join\",{\"roomId\":\"huge\"}]")).await;
        while !matches!(raw.frame().await, Frame::Text(packet) if packet.starts_with("42[\"room:joined\"")) {}
        crowd.push(raw);
    }
    let mut shouter = Chatter::join(address, "shouter", "huge").await;
    let mut bob = Chatter::join(address, "bob", "small").await;
    let mut ann = Chatter::join(address, "ann", "small").await;
    let listening = async {
        for raw in &mut crowd {
            let mut heard = 0;
            while heard < UPROAR {
                let Frame::Text(packet) = raw.frame().await else { panic!("the connection ended") };
                heard += usize::from(packet.starts_with("42[\"message:new\""));
            }
        }
    };
    let shouting = async {
        for _ in 0..UPROAR {
            shouter.emit_with_ack("message:send", json!({"roomId": "huge", "content": "!".repeat(200)})).await;
        }
        for _ in 0..UPROAR {
            shouter.next("message:ack").await;
        }
    };
    let chatting = async {
        for number in 0..20 {
            let asked = Instant::now();
            let content = format!("in peace {number}");
            let sent = ann.ask("message:send", json!({"roomId": "small", "content": content})).await;
            assert_eq!(sent["ok"], true, "{sent}");
            assert_eq!(bob.next("message:new").await["content"], content.as_str());
            assert!(asked.elapsed() < BEARABLE, "{:?}", asked.elapsed());
        }
    };
    tokio::join!(shouting, chatting, listening);
}
