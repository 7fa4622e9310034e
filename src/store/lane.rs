//! A lane: a thread that takes records from its queue, batches them, has them stored and hands out what became of them.
//!
//! Owns the order (a room always has the same lane), the choice of store, and what becomes of records that it could not
//! settle yet. Blocks; runs on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::backlog::{self, Backlog, Chance, Kept};
use super::batch::{Batcher, Limits};
use super::memory::Memory;
use super::messages::Stamp;
use super::split::Split;
use super::sqlite::{self, Sqlite};
use super::writer::{Queued, Shared, Sink, Ticket};
use super::{Health, News, StoreSettings};
use crate::chat::effect::{Committed, Origin, Outcome, Record, RecordBody, Refusal};

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

    /// Whether there is a point in giving a record to the store now.
    fn has_chance(&self, body: &RecordBody, trace: &Trace) -> bool {
        match self {
            Self::Memory(_) | Self::Sqlite(_) => true,
            Self::Split(split) => split.has_chance(body, trace),
        }
    }

    /// Housekeeping that nobody waits for. Says what others did meanwhile.
    fn tidy(&mut self) -> Vec<News> {
        match self {
            Self::Memory(_) | Self::Split(_) => Vec::new(),
            Self::Sqlite(sqlite) => {
                sqlite.tidy();
                sqlite.news()
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
    batcher: Batcher<Kept>,
    backlog: Backlog,
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
        Self {
            backend,
            queue,
            shared,
            persist_timeout: settings.persist_timeout,
            sink,
            batcher,
            backlog: Backlog::default(),
        }
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
        let wait = if self.backlog.is_empty() { self.backend.tidies_every() } else { Some(backlog::LOOK_EVERY) };
        let first = match wait {
            Some(wait) => self.queue.recv_timeout(wait),
            None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if self.backlog.is_due(Instant::now()) {
            self.look_at_backlog();
        }
        match first {
            Ok(first) => self.admit(first),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) if self.backlog.is_empty() => return !self.batcher.is_empty(),
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(backlog::LOOK_EVERY);
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
        let kept = Kept { queued, trace: Trace::default() };
        // Not taken while it waits behind others: it can still be taken back.
        if self.backlog.holds(&kept.queued.record.body) {
            self.backlog.push(kept);
        } else {
            self.take(kept);
        }
    }

    /// Puts a record in the batch, unless it was taken back.
    fn take(&mut self, kept: Kept) {
        let Queued { ticket, weight, record, .. } = &kept.queued;
        if kept.trace.is_in_doubt() || ticket.take() {
            let cost = cost(&record.body);
            self.batcher.push(kept, cost, Instant::now());
        } else {
            self.shared.release(1, *weight);
        }
    }

    /// Lets those go on who have a chance, as many as a batch takes, and answers those whose time is over.
    fn look_at_backlog(&mut self) {
        let now = Instant::now();
        let is_over = self.shared.is_over(now);
        let (mut records, mut bytes) = (0, 0);
        let (ready, over) = self.backlog.look(now, |Kept { queued, trace }| {
            let body = &queued.record.body;
            if is_over || (!trace.is_in_doubt() && (queued.is_late(self.persist_timeout) || queued.ticket.is_done())) {
                Chance::Over
            } else if self.batcher.has_room(records, bytes) && self.backend.has_chance(body, trace) {
                (records, bytes) = (records + 1, bytes + cost(body));
                Chance::Now
            } else {
                Chance::Later
            }
        });
        ready.into_iter().for_each(|kept| self.take(kept));
        let mut outcomes = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        for Kept { queued: Queued { record, ticket, weight, .. }, trace } in over {
            (records, bytes) = (records + 1, bytes + weight);
            if trace.is_in_doubt() || ticket.take() {
                ticket.answer();
                outcomes.push(Outcome { origin: record.origin, result: Err(Refusal::Unavailable) });
            }
        }
        self.hand_out(outcomes, records, bytes);
    }

    fn commit(&mut self) {
        let batch = self.batcher.take();
        if batch.is_empty() {
            return;
        }
        let is_over = self.shared.is_over(Instant::now());
        let (mut jobs, mut slips) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for Kept { queued, trace } in batch {
            let is_late = is_over || (queued.is_late(self.persist_timeout) && !trace.is_in_doubt());
            let Queued { record, ticket, weight, since } = queued;
            slips.push(Slip { origin: record.origin, ticket, weight, since, is_late });
            if !is_late {
                jobs.push(Job { body: record.body, trace });
            }
        }
        let answers = self.backend.apply(&mut jobs);
        let mut settled = jobs.into_iter().zip(answers);
        let (mut outcomes, mut unsettled) = (Vec::with_capacity(slips.len()), Vec::new());
        let (mut records, mut bytes) = (0, 0);
        for Slip { origin, ticket, weight, since, is_late } in slips {
            let result = match if is_late { None } else { settled.next() } {
                None => Err(Refusal::Unavailable),
                Some((_, Some(result))) => result,
                Some((Job { body, trace }, None)) => {
                    if !trace.is_in_doubt() {
                        ticket.put_back();
                    }
                    let queued = Queued { record: Record { origin, body }, ticket, weight, since };
                    unsettled.push(Kept { queued, trace });
                    continue;
                }
            };
            ticket.answer();
            (records, bytes) = (records + 1, bytes + weight);
            outcomes.push(Outcome { origin, result });
        }
        self.backlog.put_back(unsettled);
        self.report();
        self.hand_out(outcomes, records, bytes);
    }

    fn hand_out(&self, outcomes: Vec<Outcome>, records: usize, bytes: usize) {
        if !outcomes.is_empty() {
            (self.sink)(News::Outcomes(outcomes));
        }
        self.shared.release(records, bytes);
    }

    fn tidy(&mut self) {
        self.backend.tidy().into_iter().for_each(|news| (self.sink)(news));
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
