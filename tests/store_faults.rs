//! What networks and databases do to a store on PostgreSQL and MongoDB, held against what was acknowledged.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, in its helpers too"
)]

#[path = "store/harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite takes what it needs")]
mod harness;
#[path = "support/toxic.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite takes what it needs")]
mod toxic;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use alt_ws::chat::effect::{Committed, RecordBody, Refusal};
use harness::*;

/// Sends until it is taken, as a client does; says under which seq.
fn insist(store: &Running, body: &RecordBody) -> i64 {
    let since = Instant::now();
    loop {
        match store.ask(body.clone()) {
            Ok(Committed::Message { message, .. }) => return message.seq,
            Err(Refusal::Unavailable | Refusal::Busy) if since.elapsed() < Duration::from_secs(30) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_servers_on_the_same_databases_keep_one_gapless_order() {
    let subject = Subject::databases().members(&[("r", "ann"), ("r", "bob")]);
    let seqs: Vec<i64> = std::thread::scope(|scope| {
        let servers = ["ann", "bob"].map(|user| {
            let subject = &subject;
            scope.spawn(move || {
                let store = subject.start();
                let mut seqs = Vec::new();
                for batch in 0..30 {
                    let bodies = (0..20).map(|n| once("r", user, "x", &format!("{batch} {n}"), "1")).collect();
                    seqs.extend(store.ask_all(bodies).into_iter().map(|answer| stored(answer).seq));
                }
                seqs
            })
        });
        servers.into_iter().flat_map(|server| server.join().unwrap()).collect()
    });
    assert_eq!(seqs.iter().copied().collect::<HashSet<_>>(), (1..=1200).collect());
    assert_eq!(seqs.len(), 1200);
}
