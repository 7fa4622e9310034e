//! Messages in and out of the file: insertion under the next seq, once per `clientMsgId`, and pages of what was said.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Attempt, Fault, signed, unsigned};
use crate::chat::effect::{Committed, History, Missed, NewMessage, Page, PageRequest, Refusal};
use crate::chat::event::Message;
use crate::ids::{InvalidId, MessageId, RoomId, Timestamp, UserId};
use crate::store::page::PageBuilder;

/// Taking a number and storing the message under it are one transaction, so no number is ever lost.
const NEXT_SEQ: &str = "UPDATE conversations SET last_seq = last_seq + 1 WHERE id = ?1 RETURNING last_seq";
const LAST_SEQ: &str = "SELECT last_seq FROM conversations WHERE id = ?1";
const INSERT: &str = "INSERT INTO messages (id, room, room_numeric, seq, user_id, user_numeric, username, content,
    kind, attachments, created_at, client_msg_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

macro_rules! select_message {
    ($condition:literal) => {
        concat!(
            "SELECT id, room, room_numeric, seq, user_id, user_numeric, username, content, kind, attachments, ",
            "created_at, client_msg_id, delivered, read FROM messages WHERE ",
            $condition
        )
    };
}
const BY_ID: &str = select_message!("id = ?1 AND room = ?2");
const BY_CLIENT_MSG_ID: &str = select_message!("user_id = ?1 AND client_msg_id = ?2");
/// Read only as far as the page goes: rows come one by one from the index, in its order.
const UPWARDS: &str = select_message!("room = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq");
const DOWNWARDS: &str = select_message!("room = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq DESC");

/// For the test that looks at the query plans.
#[cfg(test)]
pub(super) const QUERIES: &[&str] = &[NEXT_SEQ, LAST_SEQ, BY_ID, BY_CLIENT_MSG_ID, UPWARDS, DOWNWARDS];

impl Attempt<'_> {
    /// Stores a message, or finds the one that an earlier send stored.
    pub(super) fn message(&mut self, new: &NewMessage) -> Result<Committed, Fault> {
        self.require_member(&new.room, &new.user)?;
        if let Some(first) = sent_before(self.connection, new)? {
            let message = Arc::new(Message { temp_id: new.temp_id.clone(), ..first });
            return Ok(Committed::Message { message, duplicate: true });
        }
        self.writable()?;
        let timestamp = self.stamps.now();
        let id = self.stamps.id(timestamp);
        let seq = insert(self.connection, new, id, timestamp)?.ok_or(Refusal::NotMember)?;
        let message = Arc::new(new.stored(id, seq, timestamp));
        Ok(Committed::Message { message, duplicate: false })
    }

    /// What came after `since`, oldest first, as much as [`Missed`] may hold.
    pub(super) fn missed(&self, room: &RoomId, since: i64) -> Result<Missed, Fault> {
        let request = PageRequest { before: None, after: Some(since), limit: Missed::MAX_MESSAGES };
        let Page { messages, has_more } = page(self.connection, room, &request)?;
        Ok(Missed { messages, complete: !has_more })
    }

    /// A part of what was said in a room, for a member.
    pub(super) fn history(&mut self, history: &History) -> Result<Committed, Fault> {
        self.require_member(&history.room, &history.user)?;
        let page = page(self.connection, &history.room, &history.request)?;
        Ok(Committed::History { room: history.room.clone(), page })
    }
}

/// Stores a message under the room's next seq; `None` when there is no such conversation.
pub(in crate::store) fn insert(
    connection: &Connection,
    new: &NewMessage,
    id: MessageId,
    timestamp: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let mut next_seq = connection.prepare_cached(NEXT_SEQ)?;
    let seq: Option<i64> = next_seq.query_row([new.room.as_str()], |row| row.get(0)).optional()?;
    if let Some(seq) = seq {
        connection.prepare_cached(INSERT)?.execute(params![
            id.0,
            new.room.as_str(),
            new.room.is_numeric(),
            seq,
            new.user.as_str(),
            new.user.is_numeric(),
            new.username,
            new.content,
            new.kind,
            new.attachments,
            signed(timestamp.0),
            new.client_msg_id,
        ])?;
    }
    Ok(seq)
}

/// The message that the user sent before under the same `clientMsgId`.
pub(in crate::store) fn sent_before(connection: &Connection, new: &NewMessage) -> rusqlite::Result<Option<Message>> {
    let Some(client_msg_id) = &new.client_msg_id else { return Ok(None) };
    let mut statement = connection.prepare_cached(BY_CLIENT_MSG_ID)?;
    statement.query_row([new.user.as_str(), client_msg_id], message).optional()
}

/// The message of that id, if it is of that room.
pub(in crate::store) fn by_id(
    connection: &Connection,
    room: &RoomId,
    id: MessageId,
) -> rusqlite::Result<Option<Message>> {
    connection.prepare_cached(BY_ID)?.query_row(params![id.0, room.as_str()], message).optional()
}

/// Seq of the latest message, 0 when there is none; `None` when there is no such conversation.
pub(in crate::store) fn last_seq(connection: &Connection, room: &RoomId) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(LAST_SEQ)?.query_row([room.as_str()], |row| row.get(0)).optional()
}

/// A part of what was said in a room.
pub(in crate::store) fn page(connection: &Connection, room: &RoomId, request: &PageRequest) -> rusqlite::Result<Page> {
    let sql = if request.after.is_some() { UPWARDS } else { DOWNWARDS };
    let (after, before) = (request.after.unwrap_or(i64::MIN), request.before.unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![room.as_str(), after, before])?;
    let mut page = PageBuilder::new(request);
    while let Some(row) = rows.next()?
        && page.push(message(row)?)
    {}
    Ok(page.finish())
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let bad_id =
        |column| move |error: InvalidId| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
    Ok(Message {
        id: MessageId(row.get(0)?),
        room: RoomId::from_parts(&row.get::<_, String>(1)?, row.get(2)?).map_err(bad_id(1))?,
        seq: row.get(3)?,
        user: UserId::from_parts(&row.get::<_, String>(4)?, row.get(5)?).map_err(bad_id(4))?,
        username: row.get(6)?,
        content: row.get(7)?,
        kind: row.get(8)?,
        attachments: row.get(9)?,
        timestamp: Timestamp(unsigned(row.get(10)?)),
        temp_id: None,
        client_msg_id: row.get(11)?,
        delivered: row.get(12)?,
        read: row.get(13)?,
    })
}
