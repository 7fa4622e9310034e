//! What is built in is none of the versions that are known to be weak.
//!
//! An advisory database is not to be had on every machine that runs the tests, so the advisories that concern what a chat
//! server does are here as floors: below them, input from a client or an answer of a database hurts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeMap;

/// `(crate, the first good version, what went wrong before it)`. With several of one crate, each counts for its own
/// series: the version up to the last but one number, or the first one from 1.0 on.
const FLOORS: &[(&str, &str, &str)] = &[
    ("bytes", "1.11.1", "an overflow in BytesMut::reserve"),
    ("crossbeam-channel", "0.5.15", "a double free"),
    ("h2", "0.4.16", "floods of resets and of empty frames"),
    ("jsonwebtoken", "10.3.0", "a claim of the wrong type counted as absent"),
    ("lru", "0.18.2", "an iterator that outlived what it pointed to"),
    ("postgres-protocol", "0.6.12", "a server that asks for endless SCRAM iterations"),
    ("rand", "0.9.3", "a logger that asks for random numbers"),
    ("rand", "0.10.1", "a logger that asks for random numbers"),
    ("rustls", "0.23.18", "a panic in the acceptor"),
    ("rustls-webpki", "0.103.13", "revocation lists not consulted"),
    ("slab", "0.4.11", "a read out of bounds"),
    ("time", "0.3.47", "stack exhaustion in a parser"),
    ("tokio", "1.44.2", "a broadcast channel that cloned across threads"),
    ("tokio-postgres", "0.7.18", "a panic on a hostile answer"),
    ("tracing-subscriber", "0.3.20", "escape sequences in logged values"),
    ("tungstenite", "0.20.1", "minutes of processor time for one long header"),
];

/// The crates that every program here must do without.
const ABSENT: &[(&str, &str)] = &[("h2", "the server speaks HTTP/1.1 only"), ("openssl-sys", "TLS is rustls")];

type Version = (u64, u64, u64);

fn version(text: &str) -> Version {
    let numbers = text.split(['-', '+']).next().unwrap();
    let mut numbers = numbers.split('.').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// What semantic versioning takes for one series.
fn series((major, minor, _): Version) -> (u64, u64) {
    if major == 0 { (0, minor) } else { (major, 0) }
}

fn locked() -> BTreeMap<String, Vec<Version>> {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let mut found = BTreeMap::<String, Vec<Version>>::new();
    let mut name = "";
    for line in lock.lines() {
        if let Some(quoted) = line.strip_prefix("name = ") {
            name = quoted.trim_matches('"');
        } else if let Some(quoted) = line.strip_prefix("version = \"") {
            found.entry(name.to_owned()).or_default().push(version(quoted.trim_end_matches('"')));
        }
    }
    found
}

#[test]
fn nothing_is_older_than_its_first_good_version() {
    let locked = locked();
    assert!(locked.contains_key("tokio") && locked.contains_key("jsonwebtoken"), "the lock file was not understood");
    for (name, floor, flaw) in FLOORS {
        let (floor, others) = (version(floor), FLOORS.iter().filter(|(other, ..)| other == name).count() > 1);
        for found in locked.get(*name).into_iter().flatten() {
            // One floor bounds all series; of several, each bounds its own.
            let concerns = !others || series(*found) == series(floor);
            assert!(!concerns || *found >= floor, "{name} {found:?} is older than {floor:?}: {flaw}");
        }
    }
}

#[test]
fn h7_nothing_speaks_http_2() {
    let locked = locked();
    for (name, why) in ABSENT {
        assert!(!locked.contains_key(*name), "{name} is built in, and {why}");
    }
}
