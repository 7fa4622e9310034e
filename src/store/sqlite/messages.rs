//! Messages in and out of the file: insertion under the next seq, once per `clientMsgId`, and what somebody missed.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};

use super::{Attempt, Fault, signed, unsigned};
use crate::chat::effect::{Committed, Missed, NewMessage, Refusal};
use crate::chat::event::Message;
use crate::ids::{InvalidId, MessageId, RoomId, Timestamp, UserId};

/// Taking a number and storing the message under it are one transaction, so no number is ever lost.
const NEXT_SEQ: &str = "UPDATE conversations SET last_seq = last_seq + 1 WHERE id = ?1 RETURNING last_seq";
pub(super) const LAST_SEQ: &str = "SELECT last_seq FROM conversations WHERE id = ?1";
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
const BY_CLIENT_MSG_ID: &str = select_message!("user_id = ?1 AND client_msg_id = ?2");
const BETWEEN: &str = select_message!("room = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq");

/// For the test that looks at the query plans.
#[cfg(test)]
pub(super) const QUERIES: &[&str] = &[NEXT_SEQ, LAST_SEQ, BY_CLIENT_MSG_ID, BETWEEN];

impl Attempt<'_> {
    /// Stores a message, or finds the one that an earlier send stored.
    pub(super) fn message(&mut self, new: &NewMessage) -> Result<Committed, Fault> {
        self.require_member(&new.room, &new.user)?;
        if let Some(first) = self.sent_before(new)? {
            let message = Arc::new(Message { temp_id: new.temp_id.clone(), ..first });
            return Ok(Committed::Message { message, duplicate: true });
        }
        self.writable()?;
        let seq: Option<i64> =
            self.connection.prepare_cached(NEXT_SEQ)?.query_row([new.room.as_str()], |row| row.get(0)).optional()?;
        let seq = seq.ok_or(Refusal::NotMember)?;
        let timestamp = self.stamps.now();
        let id = self.stamps.id(timestamp);
        self.connection.prepare_cached(INSERT)?.execute(params![
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
        let message = Arc::new(new.stored(id, seq, timestamp));
        Ok(Committed::Message { message, duplicate: false })
    }

    fn sent_before(&self, new: &NewMessage) -> Result<Option<Message>, Fault> {
        let Some(client_msg_id) = &new.client_msg_id else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(BY_CLIENT_MSG_ID)?;
        Ok(statement.query_row([new.user.as_str(), client_msg_id], message).optional()?)
    }

    /// Seq of the latest message, 0 when there is none; `None` when there is no such conversation.
    pub(super) fn last_seq(&self, room: &RoomId) -> Result<Option<i64>, Fault> {
        let mut statement = self.connection.prepare_cached(LAST_SEQ)?;
        Ok(statement.query_row([room.as_str()], |row| row.get(0)).optional()?)
    }

    /// What came after `since` up to `fence`, oldest first, as much as [`Missed`] may hold.
    pub(super) fn missed(&self, room: &RoomId, since: i64, fence: i64) -> Result<Missed, Fault> {
        let mut messages: Vec<Message> = Vec::new();
        let mut bytes = 0;
        let mut statement = self.connection.prepare_cached(BETWEEN)?;
        let mut rows = statement.query(params![room.as_str(), since, fence])?;
        while messages.len() < Missed::MAX_MESSAGES
            && let Some(row) = rows.next()?
        {
            let message = message(row)?;
            bytes += message.content.len() + message.attachments.len();
            if bytes > Missed::MAX_BYTES && !messages.is_empty() {
                break;
            }
            messages.push(message);
        }
        let complete = i64::try_from(messages.len()) == Ok(fence.saturating_sub(since).max(0));
        Ok(Missed { messages, complete })
    }
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
