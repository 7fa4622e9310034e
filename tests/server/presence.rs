//! Presence under a flood: every announcement costs the whole audience.

use std::time::Instant;

use serde_json::json;

use crate::support::chatter::Chatter;
use crate::support::start;

#[tokio::test]
async fn r4_a_flood_of_choices_is_acknowledged_at_once_and_told_once_a_second_with_the_latest() {
    let server = start();
    let mut ann = Chatter::join(server.address(), "ann", "r").await;
    let mut eve = Chatter::join(server.address(), "eve", "r").await;
    let started = Instant::now();
    for status in ["away", "busy"].into_iter().cycle().take(300).chain(["online"]) {
        assert_eq!(eve.ask("presence:update", json!({"status": status})).await["ok"], true);
    }
    let mut told = Vec::new();
    while told.last().is_none_or(|status| status != "online") {
        told.push(ann.next("presence:changed").await["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(told[0], "away", "the first is told at once");
    let most = 2 + started.elapsed().as_secs();
    assert!(told.len() as u64 <= most, "{} of at most {most}", told.len());
}
