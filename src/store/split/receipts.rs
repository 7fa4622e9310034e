//! Receipts over two sides: marks on the messages, how far each reader is in the structure.
//!
//! Owns the order of the two writes. Both may be done again without harm, and the read state is written last: a receipt
//! counts as known only when nothing of it is left to do.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Due, Fault, Side, Sides, Split};
use crate::chat::effect::{Committed, NewReceipt, ReceiptStatus, RecordBody, Refusal};
use crate::ids::{RoomId, Timestamp, UserId};
use crate::store::Seat;
use crate::store::messages::{Mark, OldMark, Target, Which};
use crate::store::reader::{MAX_STEPS, Reader};
use crate::store::structure::Singles;

/// The receipts of one batch while they are worked out.
struct Work<'a> {
    sides: &'a Sides,
    now: Timestamp,
    readers: HashMap<Seat, Reader>,
    /// Readers that got further, with the seqs of single receipts that are new.
    moved: HashMap<Seat, BTreeSet<i64>>,
    marks: Vec<Mark>,
    old_marks: Vec<OldMark>,
    marked: HashSet<(Which, ReceiptStatus)>,
    /// Seqs and authors after a seq of a room.
    authors: HashMap<(RoomId, i64), Vec<(i64, UserId)>>,
}

/// Whether a receipt says something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IsNews {
    Yes,
    No,
    /// When the old mark of this index changes a message.
    IfMarked(usize),
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
            moved: HashMap::new(),
            marks: Vec::new(),
            old_marks: Vec::new(),
            marked: HashSet::new(),
            authors: HashMap::new(),
        };
        let mut open = Vec::new();
        for (index, ((due, receipt), target)) in due.iter_mut().zip(&receipts).zip(&about).enumerate() {
            let target = match target {
                Ok(target) => target,
                Err(refusal) => {
                    due.settle(Err(*refusal));
                    continue;
                }
            };
            match work.take(receipt, target).await? {
                // An attempt that was cut short may have done it: it is news all the same.
                IsNews::Yes => due.job.trace.changed = true,
                IsNews::No => {}
                IsNews::IfMarked(mark) => open.push((index, mark)),
            }
        }
        let marked = work.mark_messages().await?;
        for (index, mark) in open {
            if let Some(due) = due.get_mut(index)
                && marked.get(mark) == Some(&true)
            {
                due.job.trace.changed = true;
            }
        }
        work.save_readers().await?;
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
        let (mut seats, mut seqs, mut places) = (Vec::new(), Vec::new(), HashMap::new());
        for (receipt, target) in receipts.iter().zip(about) {
            let Some(seq) = target.as_ref().ok().and_then(|target| target.seq) else { continue };
            let seat = (receipt.room.clone(), receipt.user.clone());
            let place = *places.entry(seat.clone()).or_insert(seats.len());
            if place == seats.len() {
                seats.push(seat);
            }
            seqs.push((place, seq));
        }
        if seats.is_empty() {
            return Ok(HashMap::new());
        }
        let readers = self.structure.readers(&seats, Singles::Lowest(&seqs));
        let readers = self.ask(Side::Structure, readers).await?;
        Ok(seats.into_iter().zip(readers).collect())
    }
}

impl Work<'_> {
    /// Works one receipt out.
    async fn take(&mut self, receipt: &NewReceipt, target: &Target) -> Result<IsNews, Fault> {
        let NewReceipt { room, user, status, up_to, .. } = receipt;
        let Some(seq) = target.seq else { return Ok(self.take_old(receipt, target)) };
        let seat = (room.clone(), user.clone());
        let mut reader = self.readers.remove(&seat).unwrap_or_default();
        if reader.covers(seq, *status, *up_to) {
            self.readers.insert(seat, reader);
            return Ok(IsNews::No);
        }
        if *up_to {
            let watermark = reader.watermark(*status);
            if watermark == 0 {
                // What the replaced service stored comes before seq 1.
                self.mark_old(receipt, self.now);
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
        let raised = self.moved.entry(seat.clone()).or_default();
        if !up_to {
            raised.insert(seq);
        }
        self.readers.insert(seat, reader);
        Ok(IsNews::Yes)
    }

    /// The same for a message of the replaced service: there is no read state, the marks are all that is stored.
    fn take_old(&mut self, receipt: &NewReceipt, target: &Target) -> IsNews {
        let lacks_mark = !has_mark(target, receipt.status);
        if receipt.up_to {
            return match self.mark_old(receipt, target.timestamp) {
                None => IsNews::No,
                Some(_) if lacks_mark => IsNews::Yes,
                Some(mark) => IsNews::IfMarked(mark),
            };
        }
        if lacks_mark && self.mark(receipt, Which::One(receipt.message)) { IsNews::Yes } else { IsNews::No }
    }

    /// Many receipts for one message mark it once. Says whether it is to be marked for the first time.
    fn mark(&mut self, receipt: &NewReceipt, which: Which) -> bool {
        let (room, user, status) = (receipt.room.clone(), receipt.user.clone(), receipt.status);
        let is_new = match which {
            Which::One(_) => self.marked.insert((which.clone(), status)),
            Which::Seqs(..) => true,
        };
        if is_new {
            self.marks.push(Mark { room, user, status, which });
        }
        is_new
    }

    /// The index of the mark; `None` when it is to be made already.
    fn mark_old(&mut self, receipt: &NewReceipt, until: Timestamp) -> Option<usize> {
        let (room, user, status) = (receipt.room.clone(), receipt.user.clone(), receipt.status);
        let mark = OldMark { room, user, status, until };
        let is_new = !self.old_marks.contains(&mark);
        is_new.then(|| {
            self.old_marks.push(mark);
            self.old_marks.len() - 1
        })
    }

    async fn authors(&mut self, room: &RoomId, after: i64) -> Result<&[(i64, UserId)], Fault> {
        let key = (room.clone(), after);
        if !self.authors.contains_key(&key) {
            let messages = &self.sides.messages;
            let authors = self.sides.ask(Side::Messages, messages.authors(room, after, usize::from(MAX_STEPS))).await?;
            self.authors.insert(key.clone(), authors);
        }
        Ok(self.authors.get(&key).map_or(&[], Vec::as_slice))
    }

    /// Says for each old mark whether it changed a message.
    async fn mark_messages(&self) -> Result<Vec<bool>, Fault> {
        let messages = &self.sides.messages;
        if !self.marks.is_empty() {
            self.sides.ask(Side::Messages, messages.mark(&self.marks, self.now)).await?;
        }
        if self.old_marks.is_empty() {
            return Ok(Vec::new());
        }
        self.sides.ask(Side::Messages, messages.mark_old(&self.old_marks, self.now)).await
    }

    async fn save_readers(self) -> Result<(), Fault> {
        let Self { sides, now, readers, moved, .. } = self;
        let moved = moved.into_iter().filter_map(|(seat, seqs)| {
            let raised = readers.get(&seat)?.raised(&seqs);
            Some((seat, raised))
        });
        let moved: Vec<(Seat, Reader)> = moved.collect();
        if !moved.is_empty() {
            sides.ask(Side::Structure, sides.structure.save_readers(&moved, now)).await?;
            sides.vitals.stored(Side::Structure);
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
