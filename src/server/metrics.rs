//! Counters of what happens, shared by all cores.
//!
//! Owns the numbers; relaxed atomics, because nobody decides anything by them.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// TCP connections that somebody of ours still reads or writes.
    pub(crate) connections: Counter,
    /// Engine.IO sessions that exist now.
    pub(crate) sessions: Counter,
    /// Socket.IO sockets that are connected now.
    pub(crate) sockets: Counter,
    /// Sockets that came back as what they were before they lost their connection.
    pub(crate) recovered: Counter,
    /// Volatile events that were dropped because a client or a core was behind.
    pub(crate) volatile_dropped: Counter,
    /// Clients that were disconnected because they read too slowly.
    pub(crate) slow_consumers: Counter,
    /// Connections that were closed because of what the client sent.
    pub(crate) protocol_errors: Counter,
    /// Panics that cost a connection, or a letter between cores, and nobody else anything.
    pub(crate) panics: Counter,
}
