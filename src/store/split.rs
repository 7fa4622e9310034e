//! A store whose sides are apart: the structure says who may, the messages keep what was said. At least one of them is
//! a database.
//!
//! ```text
//!  lane ── jobs ──► Split::settle ─┬─ membership   who may; asked of the structure when not known
//!                                  ├─ order        what can be done in one go
//!                                  ├─ messages     inserted in order, durably
//!                                  ├─ receipts     marks on messages, read state
//!                                  └─ questions    joins, pages
//! ```
//!
//! Owns what it takes for two stores to look like one: nothing is told that is not stored, a record that meets a side
//! that is down is kept and tried again, and what may have been stored is tried until that is known. Knows no SQL and
//! no BSON.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::{Handle, Runtime};

use super::backlog::Held;
use super::fault::Fault;
use super::lane::{Answer, Job, Trace};
use super::messages::{self, Draft, Fate, LastSeqs, Messages, Mongo, Stamp};
use super::stamp::Stamps;
use super::structure::{self, Postgres, Structure};
use super::writer::Sink;
use super::{MessagesKind, Seat, StoreError, StoreSettings, StructureKind};
use crate::chat::effect::{Committed, RecordBody, Refusal};
use crate::chat::event::Message;

mod changes;
mod let_in;
mod membership;
mod order;
mod questions;
mod receipts;
mod revocations;
mod vitals;

use membership::{Known, Membership};
use order::Class;
use revocations::Told;
pub(super) use vitals::Vitals;
use vitals::{PING_EVERY, PROBE_EVERY, Side};

/// Threads of the drivers' runtime: sockets and BSON only, the lanes have threads of their own.
const DRIVER_THREADS: usize = 2;

/// What all lanes of a split store share, and the drivers' runtime.
#[derive(Debug)]
pub(super) struct Databases {
    runtime: Runtime,
    sides: Arc<Sides>,
}

/// The two sides and what is known of them.
#[derive(Debug)]
struct Sides {
    structure: Structure,
    messages: Messages,
    membership: Membership,
    vitals: Arc<Vitals>,
    open_rooms: bool,
}

/// A split store as one lane sees it.
#[derive(Debug)]
pub(super) struct Split {
    sides: Arc<Sides>,
    runtime: Handle,
    stamps: Stamps,
    seqs: LastSeqs,
}

impl Databases {
    /// Starts the drivers. Does not wait for a database; a side that is a file is opened at once.
    pub(super) fn open(
        settings: &StoreSettings,
        structure: &StructureKind,
        messages: &MessagesKind,
        sink: Arc<Sink>,
    ) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(DRIVER_THREADS)
            .thread_name("databases")
            .enable_all()
            .build()
            .map_err(StoreError::Thread)?;
        let sides = {
            let _drivers_spawn_here = runtime.enter();
            let (open_rooms, members) = (settings.open_rooms, settings.members.as_slice());
            let (structure, structure_name) = match structure {
                StructureKind::Postgres(postgres) => {
                    (Structure::Postgres(Box::new(Postgres::new(postgres.clone(), open_rooms, members))), "PostgreSQL")
                }
                StructureKind::Sqlite { path } => {
                    (Structure::Embedded(Box::new(structure::Embedded::open(path, open_rooms, members)?)), "SQLite")
                }
            };
            let (messages, messages_name) = match messages {
                MessagesKind::Mongo(mongo) => {
                    (Messages::Mongo(Box::new(Mongo::new(mongo).map_err(|_| StoreError::MongoUri)?)), "MongoDB")
                }
                MessagesKind::Sqlite { path } => (Messages::Embedded(messages::Embedded::open(path)?), "SQLite"),
            };
            let vitals = Arc::new(Vitals::new(structure_name, messages_name));
            Arc::new(Sides { structure, messages, membership: Membership::default(), vitals, open_rooms })
        };
        for side in [Side::Structure, Side::Messages] {
            runtime.spawn(probe(Arc::clone(&sides), side, Arc::clone(&sink)));
        }
        runtime.spawn(changes::follow(Arc::clone(&sides), sink));
        Ok(Self { runtime, sides })
    }

    /// The store for one more lane.
    pub(super) fn split(&self) -> Result<Split, StoreError> {
        let (sides, runtime) = (Arc::clone(&self.sides), self.runtime.handle().clone());
        Ok(Split { sides, runtime, stamps: Stamps::new()?, seqs: LastSeqs::default() })
    }

    pub(super) fn vitals(&self) -> Arc<Vitals> {
        Arc::clone(&self.sides.vitals)
    }

    /// Ends the drivers without waiting for them: after the lanes, nothing depends on what they still do.
    pub(super) fn close(self) {
        self.runtime.shutdown_background();
    }
}

/// Brings a side up, and finds out when it is down or back although nobody asks it anything.
async fn probe(sides: Arc<Sides>, side: Side, sink: Arc<Sink>) {
    let mut told = Told::default();
    loop {
        let (ready, vitals) = (sides.bring_up(side, &mut told, &*sink).await, &sides.vitals);
        let is_up = vitals.note(side, ready).is_ok();
        if is_up {
            vitals.answered(side);
        }
        // What the structure is asked for besides, the revocations, cannot wait.
        let pause = if is_up && side == Side::Messages { PING_EVERY } else { PROBE_EVERY };
        tokio::time::sleep(pause).await;
    }
}

impl Sides {
    async fn bring_up(&self, side: Side, told: &mut Told, sink: &Sink) -> Result<(), Fault> {
        let ready = match side {
            Side::Structure => self.structure.ready().await,
            Side::Messages => self.messages.ready().await,
        };
        match (ready, side) {
            // What forbids the preparation forbids everything.
            (Err(Fault::Refused), _) => Err(Fault::Down("it refuses what is needed to begin; see the log")),
            (Err(fault), _) => Err(fault),
            (Ok(()), Side::Structure) => self.follow_revocations(told, sink).await,
            (Ok(()), Side::Messages) => self.messages.ping().await,
        }
        // Who is late with a sign of life is down.
        .map_err(Fault::without_patience)
    }

    /// Asks the structure something that it answers at once when it is well: whoever is late with that is down.
    async fn ask_at_once<T>(&self, question: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.vitals.require(Side::Structure)?;
        self.vitals.note(Side::Structure, question.await.map_err(Fault::without_patience))
    }

    /// Asks a side, unless it is known to be down, and takes note of how it is doing.
    async fn ask<T>(&self, side: Side, question: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.vitals.require(side)?;
        self.vitals.note(side, question.await)
    }
}

/// A record to be settled in this batch.
#[derive(Debug)]
struct Due<'a> {
    job: &'a mut Job,
    answer: &'a mut Answer,
}

impl Due<'_> {
    fn settle(&mut self, result: Result<Committed, Refusal>) {
        *self.answer = Some(result);
    }

    /// Nothing was done, as far as is known. What may help is tried again, the rest is refused.
    fn fail(&mut self, fault: Fault) {
        match (fault, Class::of(&self.job.body)) {
            // A question that takes too long would the next time, too, and others wait behind it.
            (Fault::Late(_), Class::Question | Class::Unordered) => self.settle(Err(fault.refusal())),
            (Fault::Down(_) | Fault::Late(_), _) => {}
            (Fault::Full | Fault::Refused, _) => self.settle(Err(fault.refusal())),
        }
    }
}

impl Split {
    /// Stores a batch; one answer for each record, in order.
    pub(super) fn apply(&mut self, jobs: &mut [Job]) -> Vec<Answer> {
        self.runtime.clone().block_on(self.settle(jobs))
    }

    /// Whether the sides that a record needs are up. Costs no question to a database.
    pub(super) fn has_chance(&self, body: &RecordBody, trace: &Trace) -> bool {
        let sides = &self.sides;
        let is_up = |side| sides.vitals.require(side).is_ok();
        let may_be_admitted = trace.is_in_doubt()
            || is_up(Side::Structure)
            || seat(body).is_some_and(|seat| sides.membership.known(&seat, Instant::now()) != Known::Unknown);
        may_be_admitted
            && match body {
                RecordBody::Message(_) | RecordBody::History(_) => is_up(Side::Messages),
                RecordBody::Receipt(_) | RecordBody::Join(_) => is_up(Side::Messages) && is_up(Side::Structure),
                RecordBody::Access { .. } | RecordBody::Conversations { .. } => true,
            }
    }

    async fn settle(&mut self, jobs: &mut [Job]) -> Vec<Answer> {
        let mut answers: Vec<Answer> = vec![None; jobs.len()];
        let stages = order::stages(jobs.iter().map(|job| &job.body));
        let mut admitted = self.admit(jobs, &mut answers).await;
        let mut dues: Vec<(usize, Due<'_>)> = stages
            .into_iter()
            .zip(jobs.iter_mut().zip(&mut answers).map(|(job, answer)| Due { job, answer }))
            .zip(admitted.drain(..))
            .filter_map(|(staged, is_admitted)| is_admitted.then_some(staged))
            .collect();
        dues.sort_by_key(|(stage, _)| *stage);
        let mut held = Held::default();
        for stage in dues.chunk_by_mut(|(one, _), (other, _)| one == other) {
            for class in [Class::Unordered, Class::Message, Class::Receipt, Class::Question] {
                let now = stage.iter_mut().map(|(_, due)| due);
                let now = now.filter(|due| Class::of(&due.job.body) == class && !held.holds(&due.job.body));
                let mut due: Vec<_> = now.collect();
                match class {
                    _ if due.is_empty() => continue,
                    Class::Unordered => self.sides.answer_unordered(&mut due).await,
                    Class::Message => self.store_messages(&mut due).await,
                    Class::Receipt => self.store_receipts(&mut due).await,
                    Class::Question => self.sides.answer_questions(&mut due).await,
                }
                let unsettled = due.iter().filter(|due| due.answer.is_none());
                unsettled.for_each(|due| held.add(&due.job.body, &due.job.trace));
            }
        }
        answers
    }

    /// Who may, for each record; whoever may not is refused. Who cannot be asked about now has neither.
    async fn admit(&self, jobs: &[Job], answers: &mut [Answer]) -> Vec<bool> {
        let (sides, now) = (&self.sides, Instant::now());
        let mut members: HashMap<Seat, Result<bool, Fault>> = HashMap::new();
        let mut to_ask = Vec::new();
        for seat in jobs.iter().filter_map(|job| seat(&job.body)) {
            let verdict = match sides.membership.known(&seat, now) {
                Known::Fresh(is_member) => Ok(is_member),
                Known::StaleMember => Ok(true),
                Known::Unknown => Err(Fault::Down("it is not known who is a member")),
            };
            if !matches!(sides.membership.known(&seat, now), Known::Fresh(_)) && !members.contains_key(&seat) {
                to_ask.push(seat.clone());
            }
            members.insert(seat, verdict);
        }
        if !to_ask.is_empty() {
            let asked = sides.membership.asking();
            match sides.ask_at_once(sides.structure.are_members(&to_ask)).await {
                Ok(found) => {
                    for (seat, is_member) in to_ask.into_iter().zip(found) {
                        sides.membership.learn(seat.clone(), is_member, asked, now);
                        members.insert(seat, Ok(is_member));
                    }
                }
                Err(Fault::Down(_) | Fault::Late(_)) => {}
                Err(fault) => members.values_mut().filter(|known| known.is_err()).for_each(|known| *known = Err(fault)),
            }
        }
        let mut admitted = Vec::with_capacity(jobs.len());
        for (job, answer) in jobs.iter().zip(answers) {
            let known = match seat(&job.body) {
                // Who asks about himself, and what was admitted before.
                None => Ok(true),
                Some(_) if job.trace.is_in_doubt() => Ok(true),
                Some(seat) => match members.get(&seat).copied().unwrap_or(Err(Fault::Refused)) {
                    Ok(false) if matches!(job.body, RecordBody::Join(_)) => {
                        let entered = sides.enter(&seat, now).await;
                        members.insert(seat, entered);
                        entered
                    }
                    known => known,
                },
            };
            if let (Ok(true), RecordBody::Join(join)) = (known, &job.body) {
                sides.membership.let_in(&(join.room.clone(), join.user.clone()));
            }
            match known {
                Ok(false) => *answer = Some(Err(Refusal::NotMember)),
                Err(fault @ (Fault::Full | Fault::Refused)) => *answer = Some(Err(fault.refusal())),
                Ok(true) | Err(Fault::Down(_) | Fault::Late(_)) => {}
            }
            admitted.push(known == Ok(true));
        }
        admitted
    }

    /// Inserts messages under the next seqs of their rooms.
    async fn store_messages(&mut self, due: &mut [&mut Due<'_>]) {
        let stamps = &mut self.stamps;
        let mut drafts = Vec::with_capacity(due.len());
        for due in due.iter_mut() {
            let Job { body: RecordBody::Message(new), trace } = &mut *due.job else { continue };
            let stamp = trace.stamp.get_or_insert_with(|| {
                let timestamp = stamps.now();
                Stamp { id: stamps.id(timestamp), timestamp, in_doubt: None }
            });
            drafts.push(Draft { new, stamp, fate: None });
        }
        let inserted = self.sides.ask(Side::Messages, self.sides.messages.insert(&mut self.seqs, &mut drafts)).await;
        let fates: Vec<_> = drafts.into_iter().map(|draft| draft.fate).collect();
        if fates.iter().any(|fate| matches!(fate, Some(Fate::Stored(_)))) {
            self.sides.vitals.stored(Side::Messages);
        }
        for (due, fate) in due.iter_mut().zip(fates) {
            let Job { body: RecordBody::Message(new), trace } = &*due.job else { continue };
            match (fate, trace.stamp) {
                (Some(Fate::Stored(seq)), Some(stamp)) => {
                    let message = Arc::new(new.stored(stamp.id, seq, stamp.timestamp));
                    due.settle(Ok(Committed::Message { message, duplicate: false }));
                }
                (Some(Fate::Duplicate(first)), _) => {
                    let message = Arc::new(Message { temp_id: new.temp_id.clone(), ..*first });
                    due.settle(Ok(Committed::Message { message, duplicate: true }));
                }
                (Some(Fate::Refused(refusal)), _) => due.settle(Err(refusal)),
                // Some of what is in doubt may be there: only trying again tells.
                _ if trace.is_in_doubt() => {}
                _ => due.fail(inserted.err().unwrap_or(Fault::Refused)),
            }
        }
    }
}

impl Sides {
    /// Lets a user into a conversation that is open to everybody.
    async fn enter(&self, seat: &Seat, now: Instant) -> Result<bool, Fault> {
        if !self.open_rooms {
            return Ok(false);
        }
        let asked = self.membership.asking();
        let entered = self.ask(Side::Structure, self.structure.enter(seat)).await?;
        if entered {
            self.membership.learn(seat.clone(), true, asked, now);
        }
        Ok(entered)
    }
}

/// Whose membership of which room a record depends on.
fn seat(body: &RecordBody) -> Option<Seat> {
    let (room, user) = match body {
        RecordBody::Message(message) => (&message.room, &message.user),
        RecordBody::Receipt(receipt) => (&receipt.room, &receipt.user),
        RecordBody::Join(join) => (&join.room, &join.user),
        RecordBody::History(history) => (&history.room, &history.user),
        RecordBody::Access { room, user } => (room, user),
        RecordBody::Conversations { .. } => return None,
    };
    Some((room.clone(), user.clone()))
}
