//! What is asked and changes nothing: where a room stands, a page of its history, who belongs where.

use futures_util::{StreamExt, stream};

use super::{Due, Fault, Side, Sides};
use crate::chat::effect::{Committed, Join, Joined, RecordBody};
use crate::store::reader::Reader;
use crate::store::structure::Singles;

/// Questions on their way at a time, of one lane: a page can be some hundred kilobytes.
const AT_A_TIME: usize = 8;

impl Sides {
    /// Answers what stands in no room's order. Whoever is asked about was admitted, so access is a yes.
    pub(super) async fn answer_unordered(&self, due: &mut [&mut Due<'_>]) {
        let answers = stream::iter(due.iter().map(|due| async {
            match &due.job.body {
                RecordBody::Conversations { user } => {
                    let listed = self.ask(Side::Structure, self.structure.conversations(user)).await;
                    listed.map(Committed::Conversations)
                }
                _ => Ok(Committed::Access),
            }
        }));
        let answers: Vec<_> = answers.buffered(AT_A_TIME).collect().await;
        settle(due, answers);
    }

    /// Answers joins and pages, all at the point of their rooms' order that the lane has reached.
    pub(super) async fn answer_questions(&self, due: &mut [&mut Due<'_>]) {
        let joins = due.iter().filter_map(|due| match &due.job.body {
            RecordBody::Join(join) => Some((join.room.clone(), join.user.clone())),
            _ => None,
        });
        let seats: Vec<_> = joins.collect();
        let readers = match seats.is_empty() {
            true => Ok(Vec::new()),
            false => self.ask_at_once(self.structure.readers(&seats, Singles::Newest)).await,
        };
        let mut readers = readers.map(Vec::into_iter);
        let questions = due.iter().map(|due| {
            let reader = match (&due.job.body, &mut readers) {
                (RecordBody::Join(_), Ok(readers)) => Ok(readers.next().unwrap_or_default()),
                (RecordBody::Join(_), Err(fault)) => Err(*fault),
                _ => Ok(Reader::default()),
            };
            (&due.job.body, reader)
        });
        let questions: Vec<_> = questions.collect();
        let answers = stream::iter(questions.into_iter().map(|(body, reader)| async {
            match body {
                RecordBody::Join(join) => {
                    let joined = self.joined(join, reader?);
                    self.ask(Side::Messages, joined).await.map(Committed::Joined)
                }
                RecordBody::History(history) => {
                    let page = self.messages.page(&history.room, &history.request);
                    let page = self.ask(Side::Messages, page).await?;
                    Ok(Committed::History { room: history.room.clone(), page })
                }
                _ => Err(Fault::Refused),
            }
        }));
        let mut answers: Vec<_> = answers.buffered(AT_A_TIME).collect().await;
        for answer in &mut answers {
            if let Ok(Committed::Joined(joined)) = answer
                && !self.membership.is_let_in(&(joined.room.clone(), joined.user.clone()))
            {
                // Told out meanwhile, perhaps before the answer could reach the room: it is to be asked anew.
                *answer = Err(Fault::Down("the membership ended while the join was answered"));
            }
        }
        settle(due, answers);
    }

    async fn joined(&self, join: &Join, reader: Reader) -> Result<Joined, Fault> {
        let Join { room, user, since } = join;
        let seq = self.messages.last_seq(room).await?;
        let missed = match since {
            Some(since) => Some(self.messages.missed(room, *since, seq).await?),
            None => None,
        };
        let unread = self.messages.unread(room, user, &reader).await?;
        Ok(Joined { room: room.clone(), user: user.clone(), seq, unread, missed })
    }
}

fn settle(due: &mut [&mut Due<'_>], answers: Vec<Result<Committed, Fault>>) {
    for (due, answer) in due.iter_mut().zip(answers) {
        match answer {
            Ok(committed) => due.settle(Ok(committed)),
            Err(fault) => due.fail(fault),
        }
    }
}
