//! The lane: the one thread that takes records from the queue, batches them, has them stored and hands out what became
//! of them.
//!
//! Owns the order (one lane, so one order for everything) and the choice of store. Blocks; runs on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::batch::{Batcher, Limits};
use super::memory::Memory;
use super::sqlite::Sqlite;
use super::writer::{Health, Queued, Shared};
use super::{StoreError, StoreKind, StoreSettings};
use crate::chat::effect::{Committed, Outcome, RecordBody, Refusal};

/// The stores there are.
#[derive(Debug)]
pub(super) enum Backend {
    Memory(Memory),
    Sqlite(Box<Sqlite>),
}

impl Backend {
    pub(super) fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        Ok(match &settings.kind {
            StoreKind::Memory => Self::Memory(Memory::new(settings.open_rooms, &settings.members)?),
            StoreKind::Sqlite { path } => {
                Self::Sqlite(Box::new(Sqlite::open(path, settings.open_rooms, &settings.members)?))
            }
        })
    }

    /// Stores a batch; one result for each record, in order.
    fn apply(&mut self, bodies: &[RecordBody]) -> Vec<Result<Committed, Refusal>> {
        match self {
            Self::Memory(memory) => memory.apply(bodies),
            Self::Sqlite(sqlite) => sqlite.apply(bodies),
        }
    }

    /// Housekeeping that nobody waits for.
    fn tidy(&mut self) {
        match self {
            Self::Memory(_) => {}
            Self::Sqlite(sqlite) => sqlite.tidy(),
        }
    }

    fn health(&self) -> Health {
        match self {
            Self::Memory(_) => Health::Ok,
            Self::Sqlite(sqlite) => sqlite.health(),
        }
    }
}

/// What a record adds to its batch, in bytes: its own weight and a share of what its answer may bring into memory.
/// Keeps the answers of one batch (up to 512 KiB for one join with `since`) within a few megabytes.
fn cost(body: &RecordBody) -> usize {
    body.weight()
        + match body {
            RecordBody::Join(join) if join.since.is_some() => 64 * 1024,
            RecordBody::Conversations { .. } => 16 * 1024,
            RecordBody::Message(_) | RecordBody::Receipt(_) | RecordBody::Join(_) | RecordBody::Access { .. } => 0,
        }
}

/// See the module's text.
pub(super) struct Lane<S> {
    backend: Backend,
    queue: Receiver<Queued>,
    shared: Arc<Shared>,
    persist_timeout: Duration,
    sink: S,
    batcher: Batcher<Queued>,
}

impl<S: FnMut(Vec<Outcome>)> Lane<S> {
    pub(super) fn new(
        backend: Backend,
        queue: Receiver<Queued>,
        shared: Arc<Shared>,
        persist_timeout: Duration,
        sink: S,
    ) -> Self {
        Self { backend, queue, shared, persist_timeout, sink, batcher: Batcher::new(Limits::GROUP_COMMIT) }
    }

    /// Serves the queue until it is closed and empty.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            self.admit(first);
            // Only what is already there: waiting for more would delay the first for nothing when the server is idle,
            // and under load the next batch gathers by itself while this one is synced.
            while !self.batcher.is_closed(Instant::now()) {
                let Ok(next) = self.queue.try_recv() else { break };
                self.admit(next);
            }
            self.commit();
        }
    }

    fn admit(&mut self, queued: Queued) {
        if queued.ticket.take() {
            let cost = cost(&queued.record.body);
            self.batcher.push(queued, cost, Instant::now());
        } else {
            self.shared.release(1, queued.weight);
        }
    }

    fn commit(&mut self) {
        let batch = self.batcher.take();
        if batch.is_empty() {
            return;
        }
        let (records, bytes) = (batch.len(), batch.iter().map(|queued| queued.weight).sum());
        let mut bodies = Vec::with_capacity(records);
        let mut pending = Vec::with_capacity(records);
        for Queued { record, ticket, since, .. } in batch {
            let expired = since.elapsed() > self.persist_timeout;
            if !expired {
                bodies.push(record.body);
            }
            pending.push((record.origin, ticket, expired));
        }
        let mut results = self.backend.apply(&bodies).into_iter();
        let outcomes = pending.into_iter().map(|(origin, ticket, expired)| {
            ticket.answer();
            let stored = if expired { Some(Err(Refusal::Unavailable)) } else { results.next() };
            Outcome { origin, result: stored.unwrap_or(Err(Refusal::Internal)) }
        });
        let outcomes = outcomes.collect();
        self.shared.set_health(self.backend.health());
        (self.sink)(outcomes);
        self.shared.release(records, bytes);
        self.backend.tidy();
        self.shared.set_health(self.backend.health());
    }
}

impl<S> Drop for Lane<S> {
    /// However the thread ends, nobody is to believe that it still stores.
    fn drop(&mut self) {
        self.shared.set_health(Health::Stopped);
    }
}
