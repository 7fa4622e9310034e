//! Readers that stop reading, many of them, beside two who chat. `make bench` has a thousand of them and the figures
//! (docs/benchmarks.md, P11).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::program::{NO_LIMITS, Program};
use crate::support::chatter::Chatter;
use crate::support::raw::{Frame, Polling, Raw, text};
use crate::{come_back, connected};

/// Readers over each transport.
const READERS: usize = 200;

/// What is said while nobody of them reads: more than an outbox (1 MiB) and the kernel's buffers hold.
const MESSAGES: usize = 400;
const CONTENT: usize = 8 * 1024;

/// Long for an answer, short for somebody who waits: the machine that runs the tests may be busy.
const BEARABLE: Duration = Duration::from_secs(3);

/// What all of them together may cost the server, in KiB. A copy of its own for each outbox would be 400 MiB; what they are
/// sent is shared, and is little more than is said.
const MOST: usize = 100 * 1024;

#[tokio::test]
async fn r2_readers_that_stop_reading_cost_little_memory_and_nobody_else_time() {
    let program = Program::start(&NO_LIMITS);
    let address = program.address;
    let mut ann = Chatter::join(address, "ann", "busy").await;
    let mut bob = Chatter::join(address, "bob", "busy").await;
    let before = (program.descriptors(), connected(&program).await);
    let (mut websockets, mut polls) = (Vec::new(), Vec::new());
    for number in 0..READERS {
        let mut raw = Raw::open_narrow(address, 4096).await;
        raw.connect(&format!("ws{number}")).await;
        raw.write(text("42[\"room:join\",{\"roomId\":\"busy\"}]")).await;
        while !matches!(raw.frame().await, Frame::Text(packet) if packet.starts_with("42[\"room:joined\"")) {}
        websockets.push(raw);
        polls.push(Polling::join(address, &format!("poll{number}"), "busy").await);
    }
    let resident = program.resident();
    let (mut most, mut longest) = (0, Duration::ZERO);
    for number in 0..MESSAGES {
        let asked = Instant::now();
        let content = format!("{number:0>CONTENT$}");
        let sent = ann.ask("message:send", json!({"roomId": "busy", "content": content})).await;
        assert_eq!(sent["ok"], true, "{sent}");
        assert_eq!(bob.next("message:new").await["seq"], sent["seq"], "each, in order, once");
        longest = longest.max(asked.elapsed());
        most = most.max(program.resident().saturating_sub(resident));
    }
    println!("{} readers cost {most} KiB at most; the longest message took {longest:?}", 2 * READERS);
    assert!(longest < BEARABLE, "{longest:?}");
    assert!(most < MOST, "{most} KiB for {} readers", 2 * READERS);
    // Every one of them has been let go, while their ends of the connections are still there.
    come_back(&program, "the readers", before).await;
    drop((websockets, polls));
    drop((ann, bob));
    program.stop();
}
