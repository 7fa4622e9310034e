//! Whole readers in and out of the tables `read_state` and `receipts`, for a store that keeps its messages elsewhere.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::receipts::{RAISE, WATERMARKS};
use super::signed;
use crate::chat::effect::ReceiptStatus::{Delivered, Read};
use crate::ids::{RoomId, Timestamp, UserId};
use crate::store::reader::{MAX_STEPS, MAX_UNREAD_STEPS, Reader, level, status};

const NEWEST: &str = "SELECT seq, level FROM receipts WHERE room = ?1 AND user_id = ?2 ORDER BY seq DESC LIMIT ?3";
const ABOVE: &str = "SELECT seq, level FROM receipts WHERE room = ?1 AND user_id = ?2 AND seq > ?4
    ORDER BY seq LIMIT ?3";
const LEVEL: &str = "SELECT seq, level FROM receipts WHERE room = ?1 AND user_id = ?2 AND seq = ?3";
/// What is stored may be further than what is given, never the other way.
const RAISE_WATERMARKS: &str = "INSERT INTO read_state (conversation_id, user_id, delivered_seq, read_seq, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (conversation_id, user_id) DO UPDATE
    SET delivered_seq = max(delivered_seq, excluded.delivered_seq), read_seq = max(read_seq, excluded.read_seq),
        updated_at = excluded.updated_at
    RETURNING delivered_seq, read_seq";
const DROP_READ: &str = "DELETE FROM receipts WHERE room = ?1 AND user_id = ?2 AND seq <= ?3";
/// From where the watermark was before: below it nothing of that level is left.
const DROP_DELIVERED: &str =
    "DELETE FROM receipts WHERE room = ?1 AND user_id = ?2 AND seq > ?3 AND seq <= ?4 AND level = 1";

/// For the test that looks at the query plans.
#[cfg(test)]
pub(super) const QUERIES: &[&str] = &[NEWEST, ABOVE, LEVEL, DROP_READ, DROP_DELIVERED];

/// How far the user is with the room, with the newest single receipts; a default [`Reader`] when nothing is stored.
pub(in crate::store) fn newest(connection: &Connection, room: &RoomId, user: &UserId) -> rusqlite::Result<Reader> {
    let (delivered, read) = watermarks(connection, room, user)?;
    let mut single = BTreeMap::new();
    let mut newest = connection.prepare_cached(NEWEST)?;
    let mut rows = newest.query(params![room.as_str(), user.as_str(), MAX_UNREAD_STEPS])?;
    while let Some(row) = rows.next()? {
        single.insert(row.get(0)?, status(row.get(1)?));
    }
    Ok(Reader::from_parts(delivered, read, single))
}

/// The same with the first single receipts above either watermark, and those of these seqs.
pub(in crate::store) fn lowest(
    connection: &Connection,
    room: &RoomId,
    user: &UserId,
    seqs: &[i64],
) -> rusqlite::Result<Reader> {
    let (delivered, read) = watermarks(connection, room, user)?;
    let mut single = BTreeMap::new();
    let mut above = connection.prepare_cached(ABOVE)?;
    for watermark in [read, delivered] {
        let mut rows = above.query(params![room.as_str(), user.as_str(), MAX_STEPS, watermark])?;
        while let Some(row) = rows.next()? {
            single.insert(row.get(0)?, status(row.get(1)?));
        }
    }
    let mut one = connection.prepare_cached(LEVEL)?;
    for seq in seqs {
        let found = one.query_row(params![room.as_str(), user.as_str(), seq], |row| row.get(1)).optional()?;
        single.extend(found.map(|level| (*seq, status(level))));
    }
    Ok(Reader::from_parts(delivered, read, single))
}

fn watermarks(connection: &Connection, room: &RoomId, user: &UserId) -> rusqlite::Result<(i64, i64)> {
    let mut watermarks = connection.prepare_cached(WATERMARKS)?;
    let found = watermarks.query_row([room.as_str(), user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?.unwrap_or_default())
}

/// Stores how far the user is with the room, and these single receipts besides those that are stored; never back.
pub(in crate::store) fn save(
    connection: &Connection,
    room: &RoomId,
    user: &UserId,
    reader: &Reader,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (before, _) = watermarks(connection, room, user)?;
    let (room, user) = (room.as_str(), user.as_str());
    let given = params![room, user, reader.watermark(Delivered), reader.watermark(Read), signed(now.0)];
    let (delivered, read): (i64, i64) =
        connection.prepare_cached(RAISE_WATERMARKS)?.query_row(given, |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (seq, status) in reader.single() {
        if *seq > read && (*seq > delivered || *status == Read) {
            connection.prepare_cached(RAISE)?.execute(params![room, user, seq, level(*status)])?;
        }
    }
    connection.prepare_cached(DROP_READ)?.execute(params![room, user, read])?;
    connection.prepare_cached(DROP_DELIVERED)?.execute(params![room, user, before.max(read), delivered]).map(drop)
}
