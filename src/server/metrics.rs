//! Counters of what happens, shared by all cores, and the page that shows them.
//!
//! Owns the numbers; relaxed atomics and small tables, because nobody decides anything by them. Labels are words of this
//! program, never of a client, so there are few of them.

pub(crate) mod exposition;
pub(crate) mod page;
mod process;

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::chat::event::Code;
use crate::engineio::session::CloseReason;

/// One number that goes up and, for gauges, down.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, until what is returned is dropped.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.increment();
        Held(self)
    }
}

/// Something that is counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held<'c>(&'c Counter);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.decrement();
    }
}

/// Numbers by label. Those that are known beforehand are there from the start, so that an alert has something to watch.
#[derive(Debug)]
pub(crate) struct Tally(DashMap<&'static str, u64>);

impl Tally {
    fn of(labels: impl IntoIterator<Item = &'static str>) -> Self {
        Self(labels.into_iter().map(|label| (label, 0)).collect())
    }

    pub(crate) fn increment(&self, label: &'static str) {
        *self.0.entry(label).or_default() += 1;
    }

    /// All of them, by label.
    pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|entry| (*entry.key(), *entry.value())).collect();
        all.sort_unstable();
        all
    }
}

/// What is counted. `page` has a sentence for each.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// TCP connections that somebody of ours still reads or writes.
    pub(crate) connections: Counter,
    /// Engine.IO sessions that exist now.
    pub(crate) sessions: Counter,
    /// Socket.IO sockets that are connected now.
    pub(crate) sockets: Counter,
    /// TCP connections that were accepted.
    pub(crate) accepted: Counter,
    /// Failures to accept one.
    pub(crate) accept_errors: Counter,
    /// HTTP requests and connections that were refused or cut, by reason.
    pub(crate) http_refused: Tally,
    /// Engine.IO handshakes that were refused, by reason.
    pub(crate) handshakes_refused: Tally,
    /// CONNECT packets that were refused, by code.
    pub(crate) connects_refused: Tally,
    /// Sessions that ended, by reason.
    pub(crate) closed: Tally,
    /// Connections that broke a protocol, by what they did.
    pub(crate) protocol_errors: Tally,
    /// Events that came.
    pub(crate) events: Counter,
    /// Events that failed, by code.
    pub(crate) failed: Tally,
    /// Messages that were stored.
    pub(crate) stored: Counter,
    /// Sockets that came back as what they were before they lost their connection.
    pub(crate) recovered: Counter,
    /// Volatile events that were dropped because a client or a core was behind.
    pub(crate) volatile_dropped: Counter,
    /// Choices of a status that were not told at once, because the user's last was told within the second.
    pub(crate) presence_held: Counter,
    /// Panics that cost a connection, or a letter between cores, and nobody else anything.
    pub(crate) panics: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let closed = [
            CloseReason::ClientClose,
            CloseReason::TransportClose,
            CloseReason::PingTimeout,
            CloseReason::ParseError,
            CloseReason::Overlap,
            CloseReason::RequestAborted,
        ];
        let closed_by_us =
            ["connect_timeout", "panic", "rate_limited", "slow_consumer", "token_expired", "token_revoked"];
        Self {
            connections: Counter::default(),
            sessions: Counter::default(),
            sockets: Counter::default(),
            accepted: Counter::default(),
            accept_errors: Counter::default(),
            http_refused: Tally::of([
                "address",
                "ambiguous",
                "answer_late",
                "body_binary",
                "body_broken",
                "body_encoded",
                "body_late",
                "body_too_large",
                "head_late_or_idle",
                "head_too_large",
                "malformed",
            ]),
            handshakes_refused: Tally::of(["address", "draining", "starting", "storm"]),
            connects_refused: Tally::of(["auth_required", "rate_limited", "token_expired", "token_invalid"]),
            closed: Tally::of(closed.map(CloseReason::as_str).into_iter().chain(closed_by_us)),
            protocol_errors: Tally::of([]),
            events: Counter::default(),
            failed: Tally::of(Code::ALL.map(Code::as_str)),
            stored: Counter::default(),
            recovered: Counter::default(),
            volatile_dropped: Counter::default(),
            presence_held: Counter::default(),
            panics: Counter::default(),
        }
    }
}
