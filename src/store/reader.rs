//! How far one user is with one room: two watermarks and single receipts above them.
//!
//! The same rules as the tables `read_state` and `receipts` of the SQLite store, and what every table keeps. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::chat::effect::ReceiptStatus;

/// Counting unread messages looks at no more than this many of the newest, one's own and those read singly included,
/// so that a room full of one's own words costs no more than a few milliseconds to enter.
pub(super) const MAX_UNREAD_STEPS: i64 = 10_000;

/// How many messages above a watermark, and single receipts, are looked at to raise it. Who is further behind than this
/// catches up receipt by receipt.
pub(super) const MAX_STEPS: u16 = 1000;

/// One user in one room. `read <= delivered`, and each watermark is as high as it can be: the next message of
/// somebody else above it lacks that receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reader {
    delivered: i64,
    read: i64,
    /// Receipts above the watermark of their status, by seq.
    single: BTreeMap<i64, ReceiptStatus>,
}

/// The number in the tables' column `level`; greater says more.
pub(super) fn level(status: ReceiptStatus) -> i16 {
    match status {
        ReceiptStatus::Delivered => 1,
        ReceiptStatus::Read => 2,
    }
}

/// What the number in a column `level` says.
pub(super) fn status(level: i16) -> ReceiptStatus {
    if level >= 2 { ReceiptStatus::Read } else { ReceiptStatus::Delivered }
}

impl Reader {
    /// A reader as a store keeps it.
    pub(super) fn from_parts(delivered: i64, read: i64, single: BTreeMap<i64, ReceiptStatus>) -> Self {
        let mut reader = Self { delivered, read, single };
        reader.drop_covered();
        reader
    }

    /// What of this is to be stored when the single receipts of these seqs are the new ones: the watermarks, and those
    /// of the receipts that they do not cover.
    pub(super) fn raised(&self, seqs: &BTreeSet<i64>) -> Self {
        let raised = seqs.iter().filter_map(|seq| self.single.get(seq).map(|status| (*seq, *status)));
        Self { delivered: self.delivered, read: self.read, single: raised.collect() }
    }

    /// The receipts above the watermark of their status, by seq.
    pub(super) fn single(&self) -> &BTreeMap<i64, ReceiptStatus> {
        &self.single
    }

    /// Everything of others up to here has that status.
    pub(super) fn watermark(&self, status: ReceiptStatus) -> i64 {
        match status {
            ReceiptStatus::Delivered => self.delivered,
            ReceiptStatus::Read => self.read,
        }
    }

    /// Whether a receipt says nothing new.
    pub(super) fn covers(&self, seq: i64, status: ReceiptStatus, up_to: bool) -> bool {
        self.watermark(status) >= seq || (!up_to && self.has(seq, status))
    }

    /// Whether the user has read the message.
    pub(super) fn has_read(&self, seq: i64) -> bool {
        self.has(seq, ReceiptStatus::Read)
    }

    fn has(&self, seq: i64, status: ReceiptStatus) -> bool {
        self.watermark(status) >= seq || self.single.get(&seq).is_some_and(|single| *single >= status)
    }

    /// Where the watermark of a receipt's status is at least once it was taken in.
    pub(super) fn reaches_at_least(&self, seq: i64, status: ReceiptStatus, up_to: bool) -> i64 {
        if up_to { self.watermark(status).max(seq) } else { self.watermark(status) }
    }

    /// Takes a receipt in. `others` are the seqs of the messages of others, ascending, from
    /// [`Self::reaches_at_least`] up to `last_seq`; there may be later ones.
    pub(super) fn raise(
        &mut self,
        seq: i64,
        status: ReceiptStatus,
        up_to: bool,
        last_seq: i64,
        others: impl Iterator<Item = i64> + Clone,
    ) {
        if !up_to {
            let single = self.single.entry(seq).or_insert(status);
            *single = status.max(*single);
        }
        let reached = self.reaches_at_least(seq, status, up_to);
        if status == ReceiptStatus::Read {
            self.read = self.highest(reached, ReceiptStatus::Read, last_seq, others.clone());
        }
        let delivered = self.delivered.max(self.read).max(reached);
        self.delivered = self.highest(delivered, ReceiptStatus::Delivered, last_seq, others);
        self.drop_covered();
    }

    fn drop_covered(&mut self) {
        let (read, delivered) = (self.read, self.delivered);
        self.single.retain(|seq, status| *seq > read && (*seq > delivered || *status == ReceiptStatus::Read));
    }

    fn highest(&self, from: i64, status: ReceiptStatus, last: i64, mut others: impl Iterator<Item = i64>) -> i64 {
        others.find(|seq| *seq > from && !self.has(*seq, status)).map_or(last, |lacking| lacking - 1).max(from)
    }
}

#[cfg(test)]
mod tests {
    use super::ReceiptStatus::{Delivered, Read};
    use super::*;

    #[test]
    fn watermarks_advance_over_single_receipts_and_keep_the_table_small() {
        // Messages 1..=6; 3 is the user's own.
        let others = [1, 2, 4, 5, 6];
        // (seq, status, up_to) -> (delivered, read, single receipts left)
        let steps = [
            ((2, Delivered, false), (0, 0, 1)),
            ((1, Delivered, false), (3, 0, 0)),
            ((5, Read, false), (3, 0, 1)),
            ((4, Delivered, false), (5, 0, 1)),
            ((2, Read, true), (5, 3, 1)),
            ((4, Read, false), (5, 5, 0)),
            ((6, Read, true), (6, 6, 0)),
        ];
        let mut reader = Reader::default();
        for ((seq, status, up_to), expected) in steps {
            assert!(!reader.covers(seq, status, up_to), "{seq} {status:?}");
            reader.raise(seq, status, up_to, 6, others.into_iter());
            assert!(reader.covers(seq, status, up_to) && reader.covers(seq, Delivered, up_to), "{seq} {status:?}");
            assert_eq!((reader.delivered, reader.read, reader.single.len()), expected, "{seq} {status:?} {up_to}");
        }
    }
}
