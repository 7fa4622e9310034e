//! Receipts over two sides: marks on the messages, how far each reader is in the structure.
//!
//! Owns the order of the two writes. Both may be done again without harm, and the read state is written last: a receipt
//! counts as known only when nothing of it is left to do.

use std::collections::{HashMap, HashSet};

use super::{Due, Fault, Side, Sides, Split};
use crate::chat::effect::{Committed, NewReceipt, ReceiptStatus, RecordBody, Refusal};
use crate::ids::{RoomId, Timestamp, UserId};
use crate::store::Seat;
use crate::store::messages::{Mark, Target, Which};
use crate::store::reader::Reader;

/// How far a watermark is looked for beyond a receipt. Who is further behind than this catches up receipt by receipt.
const LOOK_AHEAD: usize = 1000;

/// The receipts of one batch while they are worked out.
struct Work<'a> {
    sides: &'a Sides,
    now: Timestamp,
    readers: HashMap<Seat, Reader>,
    /// Readers that got further.
    moved: HashSet<Seat>,
    marks: Vec<Mark>,
    marked: HashSet<(Which, ReceiptStatus)>,
    /// Seqs and authors after a seq of a room.
    authors: HashMap<(RoomId, i64), Vec<(i64, UserId)>>,
}

impl Split {
    /// Stores receipts together; one that the store refuses takes no others with it.
    pub(super) async fn store_receipts(&mut self, due: &mut [&mut Due<'_>]) {
        let now = self.stamps.now();
        match self.sides.store_together(due, now).await {
            Ok(()) => {}
            Err(Fault::Refused) if due.len() > 1 => {
                for one in due.chunks_mut(1) {
                    if let Err(fault) = self.sides.store_together(one, now).await {
                        fail(one, fault);
                    }
                }
            }
            Err(fault) => fail(due, fault),
        }
    }
}

fn fail(due: &mut [&mut Due<'_>], fault: Fault) {
    due.iter_mut().filter(|due| due.answer.is_none()).for_each(|due| due.fail(fault));
}

impl Sides {
    async fn store_together(&self, due: &mut [&mut Due<'_>], now: Timestamp) -> Result<(), Fault> {
        let receipts: Vec<NewReceipt> = due.iter().filter_map(|due| receipt(&due.job.body).cloned()).collect();
        let wanted: Vec<_> = receipts.iter().map(|receipt| (receipt.room.clone(), receipt.message)).collect();
        let targets = self.ask(Side::Messages, self.messages.targets(&wanted)).await?;
        let about: Vec<Result<Target, Refusal>> = receipts
            .iter()
            .zip(targets)
            .map(|(receipt, target)| match target {
                None => Err(Refusal::NoSuchMessage),
                Some(target) if target.user == receipt.user => Err(Refusal::OwnMessage),
                Some(target) => Ok(target),
            })
            .collect();
        let readers = self.readers_of(&receipts, &about).await?;
        let mut work = Work {
            sides: self,
            now,
            readers,
            moved: HashSet::new(),
            marks: Vec::new(),
            marked: HashSet::new(),
            authors: HashMap::new(),
        };
        for ((due, receipt), target) in due.iter_mut().zip(&receipts).zip(&about) {
            match target {
                Err(refusal) => due.settle(Err(*refusal)),
                // An attempt that was cut short may have done it: it is news all the same.
                Ok(target) => due.job.trace.changed |= work.take(receipt, target).await?,
            }
        }
        work.write().await?;
        for (due, receipt) in due.iter_mut().zip(&receipts).filter(|(due, _)| due.answer.is_none()) {
            let changed = due.job.trace.changed;
            due.settle(Ok(Committed::Receipt(receipt.stored(now, changed))));
        }
        Ok(())
    }

    async fn readers_of(
        &self,
        receipts: &[NewReceipt],
        about: &[Result<Target, Refusal>],
    ) -> Result<HashMap<Seat, Reader>, Fault> {
        let numbered = |target: &Result<Target, Refusal>| target.as_ref().is_ok_and(|target| target.seq.is_some());
        let seats: HashSet<Seat> = receipts
            .iter()
            .zip(about)
            .filter(|(_, target)| numbered(target))
            .map(|(receipt, _)| (receipt.room.clone(), receipt.user.clone()))
            .collect();
        if seats.is_empty() {
            return Ok(HashMap::new());
        }
        let seats: Vec<Seat> = seats.into_iter().collect();
        let readers = self.ask(Side::Structure, self.structure.readers(&seats)).await?;
        Ok(seats.into_iter().zip(readers).collect())
    }
}

impl Work<'_> {
    /// Works one receipt out. Says whether it is news.
    async fn take(&mut self, receipt: &NewReceipt, target: &Target) -> Result<bool, Fault> {
        let NewReceipt { room, user, status, up_to, .. } = receipt;
        let Some(seq) = target.seq else {
            let is_news = *up_to || !has_mark(target, *status);
            if is_news {
                let which = if *up_to { Which::Unnumbered(target.timestamp) } else { Which::One(receipt.message) };
                self.mark(receipt, which);
            }
            return Ok(is_news);
        };
        let seat = (room.clone(), user.clone());
        let mut reader = self.readers.get(&seat).cloned().unwrap_or_default();
        if reader.covers(seq, *status, *up_to) {
            return Ok(false);
        }
        if *up_to {
            let watermark = reader.watermark(*status);
            if watermark == 0 {
                // What the replaced service stored comes before seq 1.
                self.mark(receipt, Which::Unnumbered(self.now));
            }
            self.mark(receipt, Which::Seqs(watermark + 1, seq));
        } else if !has_mark(target, *status) {
            self.mark(receipt, Which::One(receipt.message));
        }
        let from = reader.reaches_at_least(seq, *status, *up_to);
        let authors = self.authors(room, from).await?;
        let last = authors.last().map_or(from, |(seq, _)| *seq);
        let others = authors.iter().filter(|(_, author)| author != user).map(|(seq, _)| *seq);
        reader.raise(seq, *status, *up_to, last, others);
        self.readers.insert(seat.clone(), reader);
        self.moved.insert(seat);
        Ok(true)
    }

    /// Many receipts for one message mark it once.
    fn mark(&mut self, receipt: &NewReceipt, which: Which) {
        let (room, user, status) = (receipt.room.clone(), receipt.user.clone(), receipt.status);
        let is_new = match which {
            Which::One(_) => self.marked.insert((which.clone(), status)),
            Which::Seqs(..) | Which::Unnumbered(_) => true,
        };
        if is_new {
            self.marks.push(Mark { room, user, status, which });
        }
    }

    async fn authors(&mut self, room: &RoomId, after: i64) -> Result<&[(i64, UserId)], Fault> {
        let key = (room.clone(), after);
        if !self.authors.contains_key(&key) {
            let messages = &self.sides.messages;
            let authors = self.sides.ask(Side::Messages, messages.authors(room, after, LOOK_AHEAD)).await?;
            self.authors.insert(key.clone(), authors);
        }
        Ok(self.authors.get(&key).map_or(&[], Vec::as_slice))
    }

    async fn write(mut self) -> Result<(), Fault> {
        if !self.marks.is_empty() {
            self.sides.ask(Side::Messages, self.sides.messages.mark(&self.marks, self.now)).await?;
        }
        let moved = self.moved.drain().filter_map(|seat| self.readers.remove(&seat).map(|reader| (seat, reader)));
        let moved: Vec<(Seat, Reader)> = moved.collect();
        if !moved.is_empty() {
            self.sides.ask(Side::Structure, self.sides.structure.save_readers(&moved, self.now)).await?;
            self.sides.vitals.stored(Side::Structure);
        }
        Ok(())
    }
}

fn receipt(body: &RecordBody) -> Option<&NewReceipt> {
    match body {
        RecordBody::Receipt(receipt) => Some(receipt),
        _ => None,
    }
}

fn has_mark(target: &Target, status: ReceiptStatus) -> bool {
    match status {
        ReceiptStatus::Delivered => target.delivered || target.read,
        ReceiptStatus::Read => target.read,
    }
}
