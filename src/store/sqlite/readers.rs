//! Whole readers in and out of the tables `read_state` and `receipts`, for a store that keeps its messages elsewhere.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::receipts::{DROP_COVERED, RAISE, WATERMARKS};
use super::signed;
use crate::ids::{RoomId, Timestamp, UserId};
use crate::store::reader::{Reader, level, status};

const SINGLE: &str = "SELECT seq, level FROM receipts WHERE room = ?1 AND user_id = ?2";
/// What is stored may be further than what is given, never the other way.
const RAISE_WATERMARKS: &str = "INSERT INTO read_state (conversation_id, user_id, delivered_seq, read_seq, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (conversation_id, user_id) DO UPDATE
    SET delivered_seq = max(delivered_seq, excluded.delivered_seq), read_seq = max(read_seq, excluded.read_seq),
        updated_at = excluded.updated_at
    RETURNING delivered_seq, read_seq";

/// For the test that looks at the query plans.
#[cfg(test)]
pub(super) const QUERIES: &[&str] = &[SINGLE];

/// How far the user is with the room; a default [`Reader`] when nothing is stored.
pub(in crate::store) fn reader(connection: &Connection, room: &RoomId, user: &UserId) -> rusqlite::Result<Reader> {
    let key = [room.as_str(), user.as_str()];
    let mut watermarks = connection.prepare_cached(WATERMARKS)?;
    let watermarks = watermarks.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (delivered, read) = watermarks.unwrap_or_default();
    let mut single = connection.prepare_cached(SINGLE)?;
    let single = single.query_map(key, |row| Ok((row.get(0)?, status(row.get(1)?))))?;
    Ok(Reader::from_parts(delivered, read, single.collect::<rusqlite::Result<BTreeMap<_, _>>>()?))
}

/// Stores how far the user is with the room; never back.
pub(in crate::store) fn save(
    connection: &Connection,
    room: &RoomId,
    user: &UserId,
    reader: &Reader,
    now: Timestamp,
) -> rusqlite::Result<()> {
    use crate::chat::effect::ReceiptStatus::{Delivered, Read};
    let (room, user) = (room.as_str(), user.as_str());
    let given = params![room, user, reader.watermark(Delivered), reader.watermark(Read), signed(now.0)];
    let (delivered, read): (i64, i64) =
        connection.prepare_cached(RAISE_WATERMARKS)?.query_row(given, |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (seq, status) in reader.single() {
        connection.prepare_cached(RAISE)?.execute(params![room, user, seq, level(*status)])?;
    }
    connection.prepare_cached(DROP_COVERED)?.execute(params![room, user, delivered, read]).map(drop)
}
