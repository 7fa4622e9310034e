//! `GET /metrics`: who may see it, and that it counts what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;

use alt_ws::config::Exposure;
use serde_json::json;

use crate::support::chatter::Chatter;
use crate::support::raw::{HANDSHAKE, Polling, Raw, get, http, text};
use crate::support::{soon, start, start_with};

/// The samples of the page by name and label, as far as it is one of Prometheus' text format.
async fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let answer = get(address, "/metrics", "").await;
    assert_eq!((answer.status, answer.values("content-type")), (200, vec!["text/plain; version=0.0.4; charset=utf-8"]));
    let page = String::from_utf8(answer.body).unwrap();
    let (mut samples, mut families, mut family) = (BTreeMap::new(), BTreeSet::new(), ("", ""));
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').unwrap();
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(sentence.ends_with('.') && ["counter", "gauge"].contains(&kind), "{help} {kind}");
            assert!(name.starts_with("alt_ws_") && families.insert(name), "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            family = (name, kind);
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert_eq!(name, family.0, "a sample of another family");
            assert!(samples.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "{sample} is there twice");
        }
    }
    samples
}

/// Waits until a sample has a value: what a client hears may be counted a moment later.
async fn until(address: SocketAddr, sample: &str, value: f64) {
    soon(async {
        loop {
            let samples = scrape(address).await;
            assert!(samples.contains_key(sample), "{sample} is not in {samples:#?}");
            if samples[sample] == value {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_are_for_this_machine_for_all_or_for_nobody() {
    let forwarded = "X-Forwarded-For: 127.0.0.1\r\n";
    for (exposure, direct, through_a_proxy) in
        [(Exposure::Loopback, 200, 404), (Exposure::All, 200, 200), (Exposure::Off, 404, 404)]
    {
        let server = start_with(|settings| settings.edge.metrics = exposure);
        assert_eq!(get(server.address(), "/metrics", "").await.status, direct, "{exposure:?}");
        assert_eq!(get(server.address(), "/metrics", forwarded).await.status, through_a_proxy, "{exposure:?}");
        assert_eq!(http(server.address(), "POST", "/metrics", "").await.0, 404);
    }
}

#[tokio::test]
async fn metrics_count_sessions_sockets_messages_and_what_fails() {
    let server = start();
    let address = server.address();
    let before = scrape(address).await;
    for sample in ["alt_ws_sockets", "alt_ws_panics_total", "alt_ws_events_failed_total{code=\"rate_limited\"}"] {
        assert_eq!(before[sample], 0.0, "{sample} is there from the start");
    }
    assert!(before["alt_ws_process_resident_memory_bytes"] > 1e6 && before["alt_ws_process_open_fds"] > 3.0);
    assert_eq!(before["alt_ws_store_up{side=\"messages\"}"], 1.0);

    let mut ann = Chatter::join(address, "ann", "r").await;
    for client_msg_id in ["a", "b", "a"] {
        ann.ask("message:send", json!({"roomId": "r", "content": "hi", "clientMsgId": client_msg_id})).await;
    }
    ann.ask("message:send", json!({"roomId": "r", "content": "x".repeat(70_000)})).await;
    ann.ask("message:send", json!({"roomId": "not one of hers", "content": 5})).await;
    let newcomer = Polling::open(address).await;
    until(address, "alt_ws_sessions", 2.0).await;
    let samples = scrape(address).await;
    for (sample, value) in [
        ("alt_ws_sockets", 1.0),
        ("alt_ws_newcomers", 1.0),
        ("alt_ws_messages_stored_total", 2.0),
        ("alt_ws_events_received_total", 6.0),
        ("alt_ws_events_failed_total{code=\"too_large\"}", 1.0),
        ("alt_ws_events_failed_total{code=\"bad_request\"}", 1.0),
    ] {
        assert_eq!(samples[sample], value, "{sample}");
    }
    assert!(samples["alt_ws_connections_accepted_total"] >= 3.0);

    newcomer.post("1").await;
    drop(ann);
    until(address, "alt_ws_sockets", 0.0).await;
    until(address, "alt_ws_sessions_closed_total{reason=\"client_close\"}", 1.0).await;
    until(address, "alt_ws_sessions_closed_total{reason=\"transport_close\"}", 1.0).await;
}

#[tokio::test]
async fn metrics_count_what_each_limit_refuses() {
    let server = start_with(|settings| {
        settings.cores = 1;
        settings.max_newcomers = NonZeroU32::new(1);
        settings.max_connections_per_user = NonZeroU32::new(1);
    });
    let address = server.address();
    let _ann = Chatter::connect(address, "ann").await;
    assert_eq!(Chatter::try_connect(address, "ann").await.err().unwrap()["data"]["code"], "rate_limited");
    until(address, "alt_ws_newcomers", 0.0).await;
    let _newcomer = Polling::open(address).await;
    assert_eq!(get(address, HANDSHAKE, "").await.status, 503);
    until(address, "alt_ws_handshakes_refused_total{reason=\"storm\"}", 1.0).await;
    until(address, "alt_ws_connects_refused_total{code=\"rate_limited\"}", 1.0).await;
}

#[tokio::test]
async fn metrics_count_broken_protocols_by_what_was_broken() {
    let server = start();
    let mut raw = Raw::open(server.address()).await;
    raw.connect("eve").await;
    raw.write(text("4")).await;
    assert_eq!(raw.close_code().await, Some(1002));
    until(server.address(), "alt_ws_sessions_closed_total{reason=\"parse_error\"}", 1.0).await;
    let samples = scrape(server.address()).await;
    let broken: f64 =
        samples.iter().filter(|(name, _)| name.starts_with("alt_ws_protocol_errors_total{")).map(|(_, n)| n).sum();
    assert_eq!(broken, 1.0, "{samples:#?}");
}
