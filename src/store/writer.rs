//! The queues before the store: who may put a record in, and what becomes of it until its lane takes it.
//!
//! Owns the bound on waiting records, the tickets, which room goes to which lane, and the writer's life (start, drain,
//! stop). Knows nothing of how a batch is stored; that is the lanes'.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lane::{Backend, Lane};
use super::memory::Memory;
use super::split::{Databases, Vitals};
use super::sqlite::Sqlite;
use super::{News, StoreError, StoreKind, StoreSettings};
use crate::chat::effect::{Record, RecordBody, Refusal};

/// Lanes, besides those that keep the order of messages, for what has no order.
const ASIDE_LANES: usize = 2;

/// Where the store's news go.
pub(super) type Sink = dyn Fn(News) + Send + Sync;

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

/// How each side of the store is doing. An embedded store has both in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideHealth {
    /// Members and read state.
    pub structure: Health,
    /// Messages.
    pub messages: Health,
}

/// One store and the threads of its lanes. Dropping it is [`Writer::shutdown`] without a deadline.
#[derive(Debug)]
pub struct Writer {
    handle: WriterHandle,
    lanes: Vec<JoinHandle<()>>,
    /// What the lanes share when the store is not a file of ours.
    databases: Option<Databases>,
}

impl Writer {
    /// Opens the store and starts its lanes. `sink` is called on the lanes' threads with the outcomes of each batch,
    /// those of a room in the order of its records; it must not block for long and must not panic, or the lane ends.
    /// Databases are not waited for: until they answer, records wait as for a store that is down. What is revoked is
    /// told before anything that depends on the structure: by this call, or before the first answer of a database.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be opened.
    pub fn start<S>(settings: StoreSettings, sink: S) -> Result<Self, StoreError>
    where
        S: Fn(News) + Send + Sync + 'static,
    {
        let sink: Arc<Sink> = Arc::new(sink);
        let (backends, databases) = open(&settings, &sink)?;
        let (senders, receivers): (Vec<_>, Vec<_>) = backends.iter().map(|_| mpsc::channel()).unzip();
        let shared = Arc::new(Shared {
            senders: RwLock::new(senders),
            by_room: RandomState::new(),
            records: Budget::new(settings.queue_records),
            bytes: Budget::new(settings.queue_bytes),
            health: Mutex::new(Health::Ok),
            deadline: OnceLock::new(),
        });
        let mut writer = Self { handle: WriterHandle { shared, databases: None }, lanes: Vec::new(), databases };
        writer.handle.databases = writer.databases.as_ref().map(Databases::vitals);
        for (backend, receiver) in backends.into_iter().zip(receivers) {
            let shared = Arc::clone(&writer.handle.shared);
            let lane = Lane::new(backend, receiver, shared, &settings, Arc::clone(&sink));
            let thread = std::thread::Builder::new().name("store".into()).spawn(move || lane.run());
            writer.lanes.push(thread.map_err(StoreError::Thread)?);
        }
        Ok(writer)
    }

    /// A handle for whoever submits records.
    #[must_use]
    pub fn handle(&self) -> WriterHandle {
        self.handle.clone()
    }

    /// Closes the queues, lets the lanes store and answer what is in them, and waits for their threads. What a database
    /// has not taken by `deadline` is answered [`Refusal::Unavailable`].
    pub fn shutdown(mut self, deadline: Instant) {
        let _ = self.handle.shared.deadline.set(deadline);
        self.stop();
    }

    fn stop(&mut self) {
        self.handle.shared.senders.write().unwrap_or_else(PoisonError::into_inner).clear();
        for lane in self.lanes.drain(..) {
            if lane.join().is_err() {
                tracing::error!("a thread of the store ended by a panic");
            }
        }
        if let Some(databases) = self.databases.take() {
            databases.close();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The store and one backend for each of its lanes.
fn open(settings: &StoreSettings, sink: &Arc<Sink>) -> Result<(Vec<Backend>, Option<Databases>), StoreError> {
    Ok(match &settings.kind {
        StoreKind::Memory => (vec![Backend::Memory(Memory::new(settings.open_rooms, &settings.members)?)], None),
        StoreKind::Sqlite { path } => {
            let mut sqlite = Sqlite::open(path, settings.open_rooms, &settings.members)?;
            // Before anybody is let in.
            let revoked = sqlite.revoked().map_err(|source| StoreError::Open { path: path.clone(), source })?;
            revoked.into_iter().for_each(|news| sink(news));
            (vec![Backend::Sqlite(Box::new(sqlite))], None)
        }
        StoreKind::Split { structure, messages } => {
            let databases = Databases::open(settings, structure, messages, Arc::clone(sink))?;
            let lanes = if settings.lanes > 1 { settings.lanes + ASIDE_LANES } else { 1 };
            let splits = (0..lanes).map(|_| databases.split().map(|split| Backend::Split(Box::new(split))));
            (splits.collect::<Result<_, _>>()?, Some(databases))
        }
    })
}

/// The way into the store's queues, for any thread.
#[derive(Clone, Debug)]
pub struct WriterHandle {
    shared: Arc<Shared>,
    databases: Option<Arc<Vitals>>,
}

impl WriterHandle {
    /// Queues a record without waiting for anything. Messages and joins of one room that are submitted one after the other
    /// are handled in that order, and so are receipts of one room.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when the queue is full by count or by weight, [`Refusal::Unavailable`] when the lane is gone.
    /// Then the record is not stored and no outcome comes.
    pub fn submit(&self, record: Record) -> Result<Ticket, Refusal> {
        let senders = self.shared.senders.read().unwrap_or_else(PoisonError::into_inner);
        let sender = senders.get(self.shared.lane_of(&record.body, senders.len())).ok_or(Refusal::Unavailable)?;
        let weight = record.body.weight();
        self.shared.reserve(&record.body, weight)?;
        let ticket = Ticket::new();
        let queued = Queued { record, ticket: ticket.clone(), weight, since: Instant::now() };
        sender.send(queued).map_err(|_| {
            self.shared.release(1, weight);
            Refusal::Unavailable
        })?;
        Ok(ticket)
    }

    /// How the store is doing.
    #[must_use]
    pub fn health(&self) -> SideHealth {
        let lanes = *self.shared.health.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.databases {
            Some(vitals) if lanes != Health::Stopped => vitals.both(),
            _ => SideHealth { structure: lanes, messages: lanes },
        }
    }

    /// Records that wait or are being stored, and what they weigh in bytes; for the metrics.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        (self.shared.records.used(), self.shared.bytes.used())
    }
}

/// What the handles and the lanes share.
#[derive(Debug)]
pub(super) struct Shared {
    /// One for each lane; none once the writer shuts down. Whoever sends holds the lock for reading, so nothing is sent
    /// after the close.
    senders: RwLock<Vec<Sender<Queued>>>,
    by_room: RandomState,
    records: Budget,
    bytes: Budget,
    health: Mutex<Health>,
    /// From when on nothing more is tried.
    deadline: OnceLock<Instant>,
}

impl Shared {
    /// Messages and joins of a room always have the same lane, which keeps their order. Receipts and questions are about
    /// what is stored already, and have lanes of their own where there are several: nobody's message waits for them.
    fn lane_of(&self, body: &RecordBody, lanes: usize) -> usize {
        let Some(ordered) = lanes.checked_sub(ASIDE_LANES).filter(|ordered| *ordered > 0) else { return 0 };
        let hash = match body {
            RecordBody::Conversations { user } => self.by_room.hash_one(user),
            RecordBody::Message(_)
            | RecordBody::Receipt(_)
            | RecordBody::Join(_)
            | RecordBody::History(_)
            | RecordBody::Access { .. } => self.by_room.hash_one(body.room()),
        };
        let one_of = |lanes: usize| usize::try_from(hash % (lanes as u64)).unwrap_or(0);
        match body {
            RecordBody::Message(_) | RecordBody::Join(_) => one_of(ordered),
            RecordBody::Receipt(_)
            | RecordBody::History(_)
            | RecordBody::Access { .. }
            | RecordBody::Conversations { .. } => ordered + one_of(ASIDE_LANES),
        }
    }

    /// Whether the time to stop has come.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline.get().is_some_and(|deadline| *deadline <= now)
    }

    /// A lane has ended. It takes the others with it, as far as anybody is told: a part of the rooms has no store.
    pub(super) fn stopped(&self) {
        self.set_health(Health::Stopped);
    }

    /// Questions wait only while half of the places are free: those that wait for one side must not take the places of
    /// what the other side could store.
    fn reserve(&self, body: &RecordBody, weight: usize) -> Result<(), Refusal> {
        let limit = match body {
            RecordBody::Message(_) | RecordBody::Receipt(_) => self.records.limit,
            RecordBody::Join(_)
            | RecordBody::History(_)
            | RecordBody::Access { .. }
            | RecordBody::Conversations { .. } => self.records.limit.div_ceil(2),
        };
        if !self.records.take_within(1, limit) {
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

    /// What [`WriterHandle::health`] says from now on. A lane that has stopped stays stopped.
    pub(super) fn set_health(&self, health: Health) {
        let mut current = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != Health::Stopped {
            *current = health;
        }
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
        self.take_within(amount, self.limit)
    }

    fn take_within(&self, amount: usize, limit: usize) -> bool {
        let within = |used: usize| used.checked_add(amount).filter(|sum| *sum <= limit);
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

impl Queued {
    /// Whether whoever sent it has been told by now that it was not stored.
    pub(super) fn is_late(&self, persist_timeout: Duration) -> bool {
        self.since.elapsed() > persist_timeout
    }
}

/// Follows one record through the queue, so that whoever waits for it can give up.
#[derive(Clone, Debug)]
pub struct Ticket(Arc<AtomicU8>);

impl Ticket {
    const QUEUED: u8 = 0;
    const TAKEN: u8 = 1;
    const CANCELLED: u8 = 2;
    const ANSWERED: u8 = 3;

    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Self::QUEUED)))
    }

    /// Takes the record back. `true`: the lane does not have it in hand; it never will be stored and no outcome comes
    /// (its place in the queue is freed when the lane passes it). `false`: its outcome came or will come.
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

    /// The lane could do nothing with the record, which waits again and can be taken back.
    pub(super) fn put_back(&self) {
        self.0.store(Self::QUEUED, Ordering::Release);
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
