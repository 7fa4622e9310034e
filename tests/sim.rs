//! A client and a session joined in memory, under a clock that is only ever computed.
//!
//! `sim/server.rs` drives a [`Session`](alt_ws::engineio::session::Session) and an outbox as the server does,
//! `sim/client.rs` polls, posts and upgrades as the official client does, and `sim/world.rs` lies between them: it
//! delays, loses, doubles and breaks off what they send, lets timers fire late, and checks after every step what must
//! always hold. `sim/scenarios.rs` has the rules of the session one by one,
//! `sim/revision_3.rs` those that were others in revision 3. A run is all in its seed; a failure names it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use alt_ws::engineio::session::CloseReason;

#[path = "sim/client.rs"]
mod client;
#[path = "sim/revision_3.rs"]
mod revision_3;
#[path = "sim/scenarios.rs"]
mod scenarios;
#[path = "sim/server.rs"]
mod server;
#[path = "sim/world.rs"]
mod world;

use world::{Tally, World};

/// Runs `body` for each seed, and says which one it was that failed.
fn for_each_seed(seeds: std::ops::Range<u64>, mut body: impl FnMut(u64)) {
    for seed in seeds {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| body(seed))) {
            eprintln!("seed {seed}");
            resume_unwind(failure);
        }
    }
}

/// Long enough for everything that is under way, shorter than the heartbeat's patience.
const CALM: Duration = Duration::from_secs(15);

#[test]
fn whatever_happens_messages_arrive_in_order_once_and_all_of_them_while_the_session_is_open() {
    let mut tally = Tally::default();
    for_each_seed(0..600, |seed| {
        let mut world = World::new(seed, true, Instant::now());
        let mut sessions = 0;
        for step in 0..6000 {
            world.step();
            if step % 500 == 499 {
                world.calm_down(CALM);
                if world.is_healthy() {
                    assert_eq!(world.client.received, world.sent, "everything arrived");
                    assert_eq!(world.server.received.len() as u64, world.client.sent, "in both directions");
                }
            }
            if world.is_over() {
                world.tally(&mut tally);
                sessions += 1;
                world = World::new(seed * 1_000_000 + sessions, true, world.now());
            }
        }
    });
    let ends = |reason| tally.ends.iter().filter(|end| **end == reason).count();
    for reason in [
        CloseReason::ClientClose,
        CloseReason::TransportClose,
        CloseReason::PingTimeout,
        CloseReason::ParseError,
        CloseReason::Overlap,
        CloseReason::RequestAborted,
        CloseReason::Server("test"),
        CloseReason::Server("slow_consumer"),
    ] {
        assert!(ends(reason) > 20, "the schedule hardly reaches {reason:?}: {}", ends(reason));
    }
    assert!(tally.upgrades > 500 && tally.dropped_probes > 500 && tally.delivered > 50_000, "{tally:?}");
}

#[test]
fn without_faults_a_session_lives_for_ever_and_nothing_is_lost_across_upgrades() {
    for_each_seed(0..100, |seed| {
        let mut world = World::new(seed, false, Instant::now());
        for _ in 0..1000 {
            world.step();
        }
        world.calm_down(CALM);
        assert!(world.is_healthy());
        assert_eq!((world.client.received, world.server.upgrades), (world.sent, 1));
        assert_eq!(world.server.received.len() as u64, world.client.sent);
    });
}

#[test]
fn when_the_server_closes_all_that_was_queued_still_arrives_and_then_the_end() {
    for_each_seed(0..2000, |seed| {
        let mut world = World::new(seed, false, Instant::now());
        // The close falls into every moment of the life of a session, the upgrade in particular.
        for _ in 0..seed % 120 {
            world.step();
        }
        world.send();
        world.send();
        world.server.close();
        world.calm_down(CALM);
        assert!(world.is_over() && world.client.has_ended, "both ends know");
        assert_eq!(world.client.received, world.sent, "what was queued was heard");
    });
}
