//! The corpus of malformed inputs, `tests/hostile/*.txt`, against the real program.
//!
//! After each input somebody who is in all the while is served within a second and `/health` says 200; after each file
//! the descriptors and the sockets are where they were. Everything is sent twice: the second time must not take memory
//! that the first did not. Beside it, what else needs a process of its own to be measured.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test that cannot go on fails, in its helpers too; of the helpers not all are needed here"
)]

#[path = "hostile/corpus.rs"]
mod corpus;
#[path = "support/program.rs"]
mod program;
#[path = "hostile/send.rs"]
mod send;
#[path = "hostile/stalled.rs"]
mod stalled;
mod support;

use std::time::{Duration, Instant};

use corpus::Input;
use program::{NO_LIMITS, Program};
use send::Sent;
use serde_json::{Value, json};
use support::PATIENCE;
use support::chatter::Chatter;
use support::raw::http;

/// The files, and how many inputs each has at least.
const GROUPS: [(&str, usize); 5] =
    [("http.txt", 80), ("frames.txt", 45), ("packets.txt", 70), ("events.txt", 45), ("tokens.txt", 40)];

/// How long somebody who is in may wait for an answer, whatever others send.
const BEARABLE: Duration = Duration::from_secs(1);

/// What the second time may take beyond the first, in KiB. The largest input is a megabyte, and the allocator keeps what
/// was freed within the last ten seconds (jemalloc's `dirty_decay_ms`): a few of them may be in hand at either look. What
/// was kept of each of three hundred inputs would show as more.
const GROWTH: usize = 6 * 1024;

/// Between two looks at a process that tells of nothing.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Somebody who is in all the while.
struct Witness(Chatter);

impl Witness {
    async fn enter(program: &Program) -> Self {
        Self(Chatter::join(program.address, "witness", "witnesses").await)
    }

    /// Sends a message and receives it, in time.
    async fn is_served(&mut self, after: &str) {
        let served = async {
            let sent = self.0.ask("message:send", json!({"roomId": "witnesses", "content": after})).await;
            assert_eq!(sent["ok"], true, "{after}: {sent}");
            while self.0.next("message:new").await["content"] != after {}
        };
        assert!(tokio::time::timeout(BEARABLE, served).await.is_ok(), "nobody is served after {after}");
    }
}

async fn send(group: &str, program: &Program, input: &Input, room: &str) -> Sent {
    match group {
        "http.txt" => send::http_bytes(program.address, input, room).await,
        "frames.txt" => send::frames(program.address, input, room).await,
        "packets.txt" => send::packets(program.address, input, room).await,
        "events.txt" => send::event(program.address, input, room).await,
        "tokens.txt" => send::connect(program.address, input, room).await,
        other => panic!("nobody knows how to send {other}"),
    }
}

/// Whether what came is what must come.
fn fits(wanted: &str, came: &str) -> bool {
    let is_refusal = came.len() == 3 && came.starts_with('4');
    match wanted {
        "any" => true,
        "4xx" => is_refusal,
        "refused" if is_refusal || came == "end" => true,
        "closed" => matches!(came, "closed" | "end" | "1000" | "1002" | "1007" | "1008" | "1009"),
        "out" => matches!(came, "refused" | "closed"),
        _ => wanted == came,
    }
}

/// How many sockets the program counts; it must be well.
async fn connected(program: &Program) -> u64 {
    let (status, body) = http(program.address, "GET", "/health", "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["sockets"].as_u64().unwrap()
}

/// Waits until what the program holds is no more than it was.
async fn come_back(program: &Program, group: &str, (descriptors, sockets): (usize, u64)) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (open, connected) = (program.descriptors(), connected(program).await);
        if open <= descriptors && connected == sockets {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "after {group} {open} descriptors are open where there were {descriptors}, {connected} sockets of {sockets}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Sends everything, and says how much memory the program holds after each file.
async fn send_all(program: &Program, witness: &mut Witness, time: &str) -> Vec<usize> {
    let mut resident = Vec::new();
    let mut wrong = Vec::new();
    for (group, _) in GROUPS {
        let before = (program.descriptors(), connected(program).await);
        for input in corpus::read(group) {
            let name = format!("{} ({}), {time}", input.id, input.place);
            let mut sent = send(group, program, &input, &format!("room-{time}")).await;
            if !fits(&input.verdict, &sent.verdict) {
                wrong.push(format!("{name}: {} and not {}", sent.verdict, input.verdict));
            }
            witness.is_served(&name).await;
            connected(program).await;
            if input.verdict == "open" && !sent.is_still_open().await {
                wrong.push(format!("{name}: something came"));
            }
            sent.close(program.address).await;
        }
        come_back(program, group, before).await;
        resident.push(program.resident());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    resident
}

#[tokio::test]
async fn every_malformed_input_gets_its_verdict_and_nobody_else_notices() {
    let program = Program::start(&NO_LIMITS);
    let mut witness = Witness::enter(&program).await;
    // The first request of its kind may open what stays open.
    connected(&program).await;
    let first = send_all(&program, &mut witness, "first").await;
    let second = send_all(&program, &mut witness, "second").await;
    let (before, after) = (*first.last().unwrap(), *second.last().unwrap());
    println!("KiB held after each file: {first:?}, then {second:?}");
    assert!(after <= before + GROWTH, "{after} KiB after {before}: {first:?}, then {second:?}");
    drop(witness);
    program.stop();
}
