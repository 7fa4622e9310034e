//! The queue before the store: who may put a record in, and what becomes of it until the lane takes it.
//!
//! Owns the bound on waiting records, the tickets and the writer's life (start, drain, stop). Knows nothing of how a
//! batch is stored; that is the lane's.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use super::lane::{Backend, Lane};
use super::{StoreError, StoreSettings};
use crate::chat::effect::{Outcome, Record, Refusal};

/// How the store is doing, for `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The latest write was stored.
    Ok,
    /// The latest write was refused (disk full, file locked for long); it recovers by itself.
    Degraded(&'static str),
    /// Writing failed in a way that must not be retried on the same file; reads are served, writes are refused until
    /// the operator has seen to the disk and started anew.
    ReadOnly(&'static str),
    /// The lane is gone.
    Stopped,
}

/// One store and its one lane thread. Dropping it is [`Writer::shutdown`].
#[derive(Debug)]
pub struct Writer {
    handle: WriterHandle,
    lane: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the store and starts its lane. `sink` is called on the lane's thread with the outcomes of each batch, in
    /// the order of the records; it must not block for long and must not panic, or the lane ends.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be opened.
    pub fn start<S>(settings: StoreSettings, sink: S) -> Result<Self, StoreError>
    where
        S: FnMut(Vec<Outcome>) + Send + 'static,
    {
        let backend = Backend::open(&settings)?;
        let (sender, receiver) = mpsc::channel();
        let shared = Arc::new(Shared {
            sender: RwLock::new(Some(sender)),
            records: Budget::new(settings.queue_records),
            bytes: Budget::new(settings.queue_bytes),
            health: Mutex::new(Health::Ok),
        });
        let lane = Lane::new(backend, receiver, Arc::clone(&shared), settings.persist_timeout, sink);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || lane.run());
        Ok(Self { handle: WriterHandle(shared), lane: Some(thread.map_err(StoreError::Thread)?) })
    }

    /// A handle for whoever submits records.
    #[must_use]
    pub fn handle(&self) -> WriterHandle {
        self.handle.clone()
    }

    /// Closes the queue, lets the lane store and answer what is in it, and waits for its thread.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.handle.0.sender.write().unwrap_or_else(PoisonError::into_inner).take();
        if self.lane.take().is_some_and(|lane| lane.join().is_err()) {
            tracing::error!("the store's thread ended by a panic");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The way into the store's queue, for any thread.
#[derive(Clone, Debug)]
pub struct WriterHandle(Arc<Shared>);

impl WriterHandle {
    /// Queues a record without waiting for anything. Records submitted one after the other are handled in that order.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when the queue is full by count or by weight, [`Refusal::Unavailable`] when the lane is gone.
    /// Then the record is not stored and no outcome comes.
    pub fn submit(&self, record: Record) -> Result<Ticket, Refusal> {
        let sender = self.0.sender.read().unwrap_or_else(PoisonError::into_inner);
        let sender = sender.as_ref().ok_or(Refusal::Unavailable)?;
        let weight = record.body.weight();
        self.0.reserve(weight)?;
        let ticket = Ticket::new();
        let queued = Queued { record, ticket: ticket.clone(), weight, since: Instant::now() };
        sender.send(queued).map_err(|_| {
            self.0.release(1, weight);
            Refusal::Unavailable
        })?;
        Ok(ticket)
    }

    /// How the store is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        *self.0.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that wait or are being stored, and what they weigh in bytes; for the metrics.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        (self.0.records.used(), self.0.bytes.used())
    }
}

/// What the handles and the lane share.
#[derive(Debug)]
pub(super) struct Shared {
    /// `None` once the writer shuts down. Senders hold the lock for reading, so nothing is sent after the close.
    sender: RwLock<Option<Sender<Queued>>>,
    records: Budget,
    bytes: Budget,
    health: Mutex<Health>,
}

impl Shared {
    fn reserve(&self, weight: usize) -> Result<(), Refusal> {
        if !self.records.take(1) {
            return Err(Refusal::Busy);
        }
        if !self.bytes.take(weight) {
            self.records.give(1);
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// Makes room in the queue again.
    pub(super) fn release(&self, records: usize, bytes: usize) {
        self.records.give(records);
        self.bytes.give(bytes);
    }

    /// What [`WriterHandle::health`] says from now on.
    pub(super) fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

/// A bound on something that waits. Full: [`Budget::take`] says no, nothing waits.
#[derive(Debug)]
struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    fn take(&self, amount: usize) -> bool {
        let within = |used: usize| used.checked_add(amount).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).is_ok()
    }

    fn give(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::AcqRel);
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

/// A record in the queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) record: Record,
    pub(super) ticket: Ticket,
    pub(super) weight: usize,
    pub(super) since: Instant,
}

/// Follows one record through the queue, so that whoever waits for it can give up.
#[derive(Clone, Debug)]
pub struct Ticket(Arc<AtomicU8>);

impl Ticket {
    const QUEUED: u8 = 0;
    const TAKEN: u8 = 1;
    const CANCELLED: u8 = 2;
    const ANSWERED: u8 = 3;

    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Self::QUEUED)))
    }

    /// Takes the record back. `true`: the lane had not taken it; it never will be stored and no outcome comes (its
    /// place in the queue is freed when the lane passes it). `false`: its outcome came or will come.
    #[must_use]
    pub fn cancel(&self) -> bool {
        self.leave_queue(Self::CANCELLED)
    }

    /// Whether the record's outcome is on its way to the sink or there, or the record was cancelled.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.0.load(Ordering::Acquire), Self::CANCELLED | Self::ANSWERED)
    }

    /// The lane takes the record; `false` when it was cancelled.
    pub(super) fn take(&self) -> bool {
        self.leave_queue(Self::TAKEN)
    }

    /// The lane has an outcome for the record.
    pub(super) fn answer(&self) {
        self.0.store(Self::ANSWERED, Ordering::Release);
    }

    fn leave_queue(&self, next: u8) -> bool {
        self.0.compare_exchange(Self::QUEUED, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_exact_and_survives_absurd_amounts() {
        let budget = Budget::new(10);
        assert!(budget.take(10));
        assert!(!budget.take(1));
        budget.give(4);
        assert!(!budget.take(usize::MAX));
        assert!(budget.take(4));
        assert_eq!(budget.used(), 10);
    }

    #[test]
    fn a_ticket_is_either_taken_or_cancelled() {
        let (taken, cancelled) = (Ticket::new(), Ticket::new());
        assert!(taken.take() && !taken.cancel() && !taken.is_done());
        taken.answer();
        assert!(taken.is_done());
        assert!(cancelled.cancel() && !cancelled.take() && !cancelled.cancel());
        assert!(cancelled.is_done());
    }
}
