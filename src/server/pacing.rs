//! Long answers, one at a time for each connection.
//!
//! Owns the wait of questions whose answers can be a hundred kilobytes: joins with `since`, pages of history. A client
//! that comes back asks for all of its rooms at once; given at once, the answers would overflow its outbox, it would be
//! cut off as too slow, and ask again. So the next question goes to the store when the last answer has left the outbox.

use std::collections::VecDeque;

use super::connections::Connection;
use super::core::State;
use crate::chat::application::{Application, Now};
use crate::chat::effect::{Outcome, Record, RecordBody, Refusal};
use crate::chat::event::Online;
use crate::ids::ConnectionKey;

/// The questions of one connection. Made with the first of them: most connections never wait.
#[derive(Debug, Default)]
pub(crate) struct Pacing {
    /// The application's number of the question that the store has.
    asked: Option<u64>,
    /// Bounded by [`MOST_WAITING`]; one more is refused as busy.
    waiting: VecDeque<Record>,
}

/// Every room that a socket may be in, and some pages.
const MOST_WAITING: usize = 128;

impl<A: Application> State<A> {
    /// Hands a record to the store, or lets it wait for its turn.
    pub(super) fn submit(&mut self, record: Record, now: Now) {
        if !is_long(&record.body) {
            return self.submit_now(record, now);
        }
        let key = record.origin.socket.connection;
        let Some(connection) = self.connections.get_mut(key) else { return self.submit_now(record, now) };
        let may_ask = is_ready(connection);
        let pacing = connection.pacing.get_or_insert_default();
        if pacing.asked.is_none() && pacing.waiting.is_empty() && may_ask {
            pacing.asked = Some(record.origin.request);
            self.submit_now(record, now);
        } else if pacing.waiting.len() < MOST_WAITING {
            pacing.waiting.push_back(record);
        } else {
            self.refuse(&record, Refusal::Busy, now);
        }
    }

    /// The store has answered a request of the connection, or its time is over.
    pub(super) fn question_answered(&mut self, key: ConnectionKey, request: u64) {
        let pacing = self.connections.get_mut(key).and_then(|connection| connection.pacing.as_mut());
        if let Some(pacing) = pacing
            && pacing.asked == Some(request)
        {
            pacing.asked = None;
            self.mark_dirty(key);
        }
    }

    /// Asks the next question, if the outbox has room for its answer.
    pub(super) fn ask_next(&mut self, key: ConnectionKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key).filter(|connection| is_ready(connection)) else { return };
        let Some(pacing) = connection.pacing.as_mut().filter(|pacing| pacing.asked.is_none()) else { return };
        let Some(record) = pacing.waiting.pop_front() else { return connection.pacing = None };
        pacing.asked = Some(record.origin.request);
        self.submit_now(record, now);
    }

    /// The connection is gone, and nothing is asked for it any more.
    pub(super) fn drop_questions(&mut self, connection: &mut Connection, now: Now) {
        for record in connection.pacing.take().into_iter().flat_map(|pacing| pacing.waiting) {
            self.refuse(&record, Refusal::Unavailable, now);
        }
    }

    fn submit_now(&mut self, record: Record, now: Now) {
        let origin = record.origin;
        let Some(store) = &self.shared.settings.store else { return };
        let submitted = match &self.shared.writer {
            Some(writer) => writer.submit(record),
            None => return,
        };
        match submitted {
            Ok(ticket) => self.persisting.push_back((now.instant + store.persist_timeout, origin, ticket)),
            Err(refusal) => {
                self.question_answered(origin.socket.connection, origin.request);
                let outcome = Outcome { origin, result: Err(refusal) };
                self.app.outcome(outcome, Online::default(), now, &mut self.effects);
            }
        }
    }

    fn refuse(&mut self, record: &Record, refusal: Refusal, now: Now) {
        let outcome = Outcome { origin: record.origin, result: Err(refusal) };
        self.app.outcome(outcome, Online::default(), now, &mut self.effects);
    }
}

fn is_ready(connection: &Connection) -> bool {
    connection.outbox.is_empty()
}

/// Whether the answer may be long.
fn is_long(body: &RecordBody) -> bool {
    match body {
        RecordBody::Join(join) => join.since.is_some(),
        RecordBody::History(_) => true,
        RecordBody::Message(_)
        | RecordBody::Receipt(_)
        | RecordBody::Access { .. }
        | RecordBody::Conversations { .. } => false,
    }
}
