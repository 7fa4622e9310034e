//! A lane: a thread that takes records from its queue, batches them, has them stored and hands out what became of them.
//!
//! Owns the order (a room always has the same lane), the records that a store could not settle yet, and the choice of
//! store. Blocks; runs on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::batch::{Batcher, Limits};
use super::memory::Memory;
use super::messages::Stamp;
use super::split::Split;
use super::sqlite::{self, Sqlite};
use super::writer::{Queued, Shared, Sink, Ticket};
use super::{Health, News, Seat, StoreSettings};
use crate::chat::effect::{Committed, Origin, Outcome, Record, RecordBody, Refusal};

/// A store does not tell when it could settle what it could not: it is asked again this soon.
const RETRY_EVERY: Duration = Duration::from_millis(25);

/// The stores there are.
#[derive(Debug)]
pub(super) enum Backend {
    Memory(Memory),
    Sqlite(Box<Sqlite>),
    Split(Box<Split>),
}

/// A record that is being stored.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) body: RecordBody,
    pub(super) trace: Trace,
}

/// What earlier attempts at a record left behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trace {
    /// The message's id and time, from the first attempt on.
    pub(super) stamp: Option<Stamp>,
    /// The receipt said something new when it was first tried.
    pub(super) changed: bool,
}

impl Trace {
    /// Whether the record may be stored although nobody said so. Then it must be tried until that is known.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.stamp.is_some_and(|stamp| stamp.in_doubt.is_some())
    }
}

/// What a store says about a record; `None`: nothing yet, it is to be asked again.
pub(super) type Answer = Option<Result<Committed, Refusal>>;

impl Backend {
    /// Stores a batch; one answer for each record, in order.
    fn apply(&mut self, jobs: &mut [Job]) -> Vec<Answer> {
        match self {
            Self::Memory(memory) => memory.apply(&bodies(jobs)).into_iter().map(Some).collect(),
            Self::Sqlite(sqlite) => sqlite.apply(&bodies(jobs)).into_iter().map(Some).collect(),
            Self::Split(split) => split.apply(jobs),
        }
    }

    /// Housekeeping that nobody waits for. Says who was found to be no member any more.
    fn tidy(&mut self) -> Vec<Seat> {
        match self {
            Self::Memory(_) | Self::Split(_) => Vec::new(),
            Self::Sqlite(sqlite) => {
                sqlite.tidy();
                sqlite.removed()
            }
        }
    }

    /// How often [`Self::tidy`] is due while nothing is to be stored.
    fn tidies_every(&self) -> Option<Duration> {
        match self {
            Self::Memory(_) | Self::Split(_) => None,
            Self::Sqlite(_) => Some(sqlite::LOOK_EVERY),
        }
    }

    /// `None`: others say how the store is doing.
    fn health(&self) -> Option<Health> {
        match self {
            Self::Memory(_) => Some(Health::Ok),
            Self::Sqlite(sqlite) => Some(sqlite.health()),
            Self::Split(_) => None,
        }
    }
}

fn bodies(jobs: &[Job]) -> Vec<&RecordBody> {
    jobs.iter().map(|job| &job.body).collect()
}

/// What a record adds to its batch, in bytes: its own weight and a share of what its answer may bring into memory.
/// Keeps the answers of one batch (up to 192 KiB for a join with `since` or a page of history) within a few megabytes.
fn cost(body: &RecordBody) -> usize {
    body.weight()
        + match body {
            RecordBody::Join(join) if join.since.is_some() => 64 * 1024,
            RecordBody::History(_) => 64 * 1024,
            RecordBody::Conversations { .. } => 16 * 1024,
            RecordBody::Message(_) | RecordBody::Receipt(_) | RecordBody::Join(_) | RecordBody::Access { .. } => 0,
        }
}

/// See the module's text.
pub(super) struct Lane {
    backend: Backend,
    queue: Receiver<Queued>,
    shared: Arc<Shared>,
    persist_timeout: Duration,
    sink: Arc<Sink>,
    batcher: Batcher<Queued>,
    /// Taken, tried and not settled, in their order. Bounded by the queue, in whose count they stay.
    kept: Vec<(Queued, Trace)>,
}

impl Lane {
    pub(super) fn new(
        backend: Backend,
        queue: Receiver<Queued>,
        shared: Arc<Shared>,
        settings: &StoreSettings,
        sink: Arc<Sink>,
    ) -> Self {
        let batcher = Batcher::new(Limits { records: settings.batch_records.max(1), ..Limits::GROUP_COMMIT });
        Self { backend, queue, shared, persist_timeout: settings.persist_timeout, sink, batcher, kept: Vec::new() }
    }

    /// Serves the queue until it is closed and everything in it is answered.
    pub(super) fn run(mut self) {
        while self.gather() {
            self.commit();
            self.tidy();
        }
    }

    /// Waits for work. `false` when there will be none.
    fn gather(&mut self) -> bool {
        let wait = if self.kept.is_empty() { self.backend.tidies_every() } else { Some(RETRY_EVERY) };
        let first = match wait {
            Some(wait) => self.queue.recv_timeout(wait),
            None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(first) => self.admit(first),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) if self.kept.is_empty() => return false,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(RETRY_EVERY);
                return true;
            }
        }
        // Only what is already there: waiting for more would delay the first for nothing when the server is idle, and
        // under load the next batch gathers by itself while this one is synced.
        while !self.batcher.is_closed(Instant::now()) {
            let Ok(next) = self.queue.try_recv() else { break };
            self.admit(next);
        }
        true
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
        let kept = std::mem::take(&mut self.kept).into_iter();
        let batch: Vec<_> = kept.chain(self.batcher.take().into_iter().map(|new| (new, Trace::default()))).collect();
        if batch.is_empty() {
            return;
        }
        let is_over = self.shared.is_over(Instant::now());
        let (mut jobs, mut slips) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for (Queued { record, ticket, weight, since }, trace) in batch {
            let is_late = is_over || (since.elapsed() > self.persist_timeout && !trace.is_in_doubt());
            slips.push(Slip { origin: record.origin, ticket, weight, since, is_late });
            if !is_late {
                jobs.push(Job { body: record.body, trace });
            }
        }
        let answers = self.backend.apply(&mut jobs);
        let mut settled = jobs.into_iter().zip(answers);
        let mut outcomes = Vec::with_capacity(slips.len());
        let (mut records, mut bytes) = (0, 0);
        for Slip { origin, ticket, weight, since, is_late } in slips {
            let result = match if is_late { None } else { settled.next() } {
                None => Err(Refusal::Unavailable),
                Some((_, Some(result))) => result,
                Some((Job { body, trace }, None)) => {
                    self.kept.push((Queued { record: Record { origin, body }, ticket, weight, since }, trace));
                    continue;
                }
            };
            ticket.answer();
            (records, bytes) = (records + 1, bytes + weight);
            outcomes.push(Outcome { origin, result });
        }
        self.report();
        if !outcomes.is_empty() {
            (self.sink)(News::Outcomes(outcomes));
        }
        self.shared.release(records, bytes);
    }

    fn tidy(&mut self) {
        let removed = self.backend.tidy();
        if !removed.is_empty() {
            (self.sink)(News::Removed(removed));
        }
        self.report();
    }

    fn report(&self) {
        if let Some(health) = self.backend.health() {
            self.shared.set_health(health);
        }
    }
}

/// What stays of a queued record while its body is with the store.
struct Slip {
    origin: Origin,
    ticket: Ticket,
    weight: usize,
    since: Instant,
    /// Not given to the store any more.
    is_late: bool,
}

impl Drop for Lane {
    /// However the thread ends, nobody is to believe that it still stores.
    fn drop(&mut self) {
        self.shared.stopped();
    }
}
