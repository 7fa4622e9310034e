//! Who received and read what: two watermarks per user and room, and single receipts above them.
//!
//! Each watermark is kept as high as it can be (the next message of somebody else above it lacks that receipt), so a
//! client that acknowledges one by one leaves no rows behind, and a receipt says nothing new exactly when its message
//! is at or below the watermark or has a row of its own.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Attempt, Fault, signed, unsigned};
use crate::chat::effect::{Joined, NewReceipt, ReceiptStatus, Receipted, Refusal};
use crate::ids::{RoomId, UserId};
use crate::store::reader::{MAX_UNREAD_STEPS, level};

const TARGET: &str = "SELECT seq, user_id FROM messages WHERE id = ?1 AND room = ?2";
pub(super) const WATERMARKS: &str =
    "SELECT delivered_seq, read_seq FROM read_state WHERE conversation_id = ?1 AND user_id = ?2";
const LEVEL: &str = "SELECT level FROM receipts WHERE room = ?1 AND user_id = ?2 AND seq = ?3";
pub(super) const RAISE: &str = "INSERT INTO receipts (room, user_id, seq, level) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (room, user_id, seq) DO UPDATE SET level = excluded.level WHERE level < excluded.level";
const FIRST_LACKING: &str = "SELECT seq FROM messages AS m WHERE room = ?1 AND seq > ?3 AND user_id <> ?2
    AND NOT EXISTS (SELECT 1 FROM receipts AS r
        WHERE r.room = ?1 AND r.user_id = ?2 AND r.seq = m.seq AND r.level >= ?4)
    ORDER BY seq LIMIT 1";
const SAVE_WATERMARKS: &str = "INSERT INTO read_state (conversation_id, user_id, delivered_seq, read_seq, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (conversation_id, user_id) DO UPDATE
    SET delivered_seq = excluded.delivered_seq, read_seq = excluded.read_seq, updated_at = excluded.updated_at";
const DROP_COVERED: &str = "DELETE FROM receipts WHERE room = ?1 AND user_id = ?2 AND seq <= ?3
    AND (level = 1 OR seq <= ?4)";
const MARK_DELIVERED: &str = "UPDATE messages SET delivered = 1, delivered_at = ?5
    WHERE room = ?1 AND seq >= ?3 AND seq <= ?4 AND user_id <> ?2 AND delivered = 0";
const MARK_READ: &str = "UPDATE messages
    SET read = 1, read_at = ?5, delivered = 1, delivered_at = coalesce(delivered_at, ?5)
    WHERE room = ?1 AND seq >= ?3 AND seq <= ?4 AND user_id <> ?2 AND read = 0";
const UNREAD: &str = "SELECT count(*) FROM (
    SELECT 1 FROM (SELECT seq, user_id FROM messages WHERE room = ?1 AND seq > ?3 ORDER BY seq DESC LIMIT ?4) AS m
    WHERE m.user_id <> ?2 AND NOT EXISTS (SELECT 1 FROM receipts AS r
        WHERE r.room = ?1 AND r.user_id = ?2 AND r.seq = m.seq AND r.level = 2)
    LIMIT ?5)";

/// For the test that looks at the query plans.
#[cfg(test)]
pub(super) const QUERIES: &[&str] =
    &[TARGET, WATERMARKS, LEVEL, FIRST_LACKING, DROP_COVERED, MARK_DELIVERED, MARK_READ, UNREAD];

/// Everything of others up to here is delivered, or read. `read <= delivered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watermarks {
    delivered: i64,
    read: i64,
}

impl Watermarks {
    fn of(self, status: ReceiptStatus) -> i64 {
        match status {
            ReceiptStatus::Delivered => self.delivered,
            ReceiptStatus::Read => self.read,
        }
    }
}

impl Attempt<'_> {
    /// Stores a receipt, unless the user's state already says as much.
    pub(super) fn receipt(&mut self, receipt: &NewReceipt) -> Result<Receipted, Fault> {
        self.require_member(&receipt.room, &receipt.user)?;
        let target = self
            .connection
            .prepare_cached(TARGET)?
            .query_row(params![receipt.message.0, receipt.room.as_str()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get_ref(1)?.as_str()? == receipt.user.as_str()))
            })
            .optional()?;
        let (seq, own) = target.ok_or(Refusal::NoSuchMessage)?;
        if own {
            return Err(Refusal::OwnMessage.into());
        }
        let watermarks = self.watermarks(&receipt.room, &receipt.user)?;
        let known = watermarks.of(receipt.status) >= seq || (!receipt.up_to && self.has_single(receipt, seq)?);
        let timestamp = self.stamps.now();
        if !known {
            self.writable()?;
            self.store_receipt(receipt, seq, watermarks, signed(timestamp.0))?;
        }
        Ok(receipt.stored(timestamp, !known))
    }

    fn store_receipt(&self, receipt: &NewReceipt, seq: i64, old: Watermarks, now: i64) -> rusqlite::Result<()> {
        let (room, user) = (receipt.room.as_str(), receipt.user.as_str());
        let first = if receipt.up_to { old.of(receipt.status) + 1 } else { seq };
        mark(self.connection, &receipt.room, &receipt.user, receipt.status, (first, seq), now)?;
        let reached = if receipt.up_to { seq } else { 0 };
        if !receipt.up_to {
            self.connection.prepare_cached(RAISE)?.execute(params![room, user, seq, level(receipt.status)])?;
        }
        let mut new = old;
        if receipt.status == ReceiptStatus::Read {
            new.read = self.highest(receipt, old.read.max(reached), ReceiptStatus::Read)?;
        }
        new.delivered = old.delivered.max(new.read).max(reached);
        new.delivered = self.highest(receipt, new.delivered, ReceiptStatus::Delivered)?;
        if new != old {
            let save = params![room, user, new.delivered, new.read, now];
            self.connection.prepare_cached(SAVE_WATERMARKS)?.execute(save)?;
            self.connection.prepare_cached(DROP_COVERED)?.execute(params![room, user, new.delivered, new.read])?;
        }
        Ok(())
    }

    /// How far a watermark that is at least `from` can go: to just before the first message that lacks the receipt.
    fn highest(&self, receipt: &NewReceipt, from: i64, status: ReceiptStatus) -> rusqlite::Result<i64> {
        let (room, user) = (receipt.room.as_str(), receipt.user.as_str());
        let mut lacking = self.connection.prepare_cached(FIRST_LACKING)?;
        let lacking: Option<i64> =
            lacking.query_row(params![room, user, from, level(status)], |row| row.get(0)).optional()?;
        match lacking {
            Some(seq) => Ok(seq - 1),
            None => Ok(super::messages::last_seq(self.connection, &receipt.room)?.unwrap_or(0)),
        }
    }

    fn watermarks(&self, room: &RoomId, user: &UserId) -> rusqlite::Result<Watermarks> {
        let mut statement = self.connection.prepare_cached(WATERMARKS)?;
        let watermarks = statement.query_row([room.as_str(), user.as_str()], |row| {
            Ok(Watermarks { delivered: row.get(0)?, read: row.get(1)? })
        });
        Ok(watermarks.optional()?.unwrap_or_default())
    }

    fn has_single(&self, receipt: &NewReceipt, seq: i64) -> rusqlite::Result<bool> {
        let key = params![receipt.room.as_str(), receipt.user.as_str(), seq];
        let single: Option<i16> = self.connection.prepare_cached(LEVEL)?.query_row(key, |row| row.get(0)).optional()?;
        Ok(single.is_some_and(|single| single >= level(receipt.status)))
    }

    /// Messages of others that the user has not read, counted up to [`Joined::MAX_UNREAD`].
    pub(super) fn unread(&self, room: &RoomId, user: &UserId) -> Result<u64, Fault> {
        let read = self.watermarks(room, user)?.read;
        let mut statement = self.connection.prepare_cached(UNREAD)?;
        let limits = params![room.as_str(), user.as_str(), read, MAX_UNREAD_STEPS, signed(Joined::MAX_UNREAD)];
        Ok(unsigned(statement.query_row(limits, |row| row.get(0))?))
    }
}

/// Marks the messages of others from the first seq to the second.
pub(in crate::store) fn mark(
    connection: &Connection,
    room: &RoomId,
    user: &UserId,
    status: ReceiptStatus,
    (first, last): (i64, i64),
    now: i64,
) -> rusqlite::Result<()> {
    let sql = match status {
        ReceiptStatus::Delivered => MARK_DELIVERED,
        ReceiptStatus::Read => MARK_READ,
    };
    connection.prepare_cached(sql)?.execute(params![room.as_str(), user.as_str(), first, last, now]).map(drop)
}
